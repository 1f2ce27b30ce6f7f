#include "verify/numerics/row_noise.h"

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace assay::verify {
namespace {

using reference::Array;

// So many draws find less than there is. Where all of a row goes one way, their mean square is that
// of kRuns independent numbers: of normal ones it is below 1 / 1.5^2 of its expectation in 11 runs
// of 100, and below 1 / 3^2, from which on 1.5 and the tolerance's own allowance of 2 no longer
// cover it, in 9 of 10,000 (chi-squared, 8 degrees of freedom).
constexpr double kFewRuns = 1.5;

int64_t width_of(const Array& tensor) {
  return tensor.shape().empty() ? 1 : std::max<int64_t>(1, tensor.shape().back());
}

// Uniform in [0, 1), the same for equal x: the finalizer of SplitMix64 (Steele, Lea and Flood,
// "Fast splittable pseudorandom number generators", OOPSLA 2014).
double uniform_of(double x, uint64_t stream) {
  uint64_t bits = std::bit_cast<uint64_t>(x) ^ (stream * 0x9e3779b97f4a7c15);
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return static_cast<double>((bits ^ (bits >> 31)) >> 32) * 0x1p-32;
}

}  // namespace

Array errors_alike(const Array& values, std::span<const float> deviation, uint64_t stream) {
  Array drawn = Array::uninitialized(values.shape());
  tbb::parallel_for(tbb::blocked_range<int64_t>(0, values.size(), 1 << 14), [&](const auto& part) {
    for (int64_t i = part.begin(); i < part.end(); ++i) {
      const double uniform = 2 * uniform_of(values.data()[i], stream) - 1;  // variance 1/3
      const double own = deviation[static_cast<std::size_t>(i)];
      drawn.data()[i] = own == 0 ? 0 : std::sqrt(3.0) * own * uniform;
    }
  });
  return drawn;
}

void RowNoise::add(const std::string& name, const Array& error) {
  const int64_t width = width_of(error), rows = error.size() / width;
  std::vector<double>& sums = error_sq_[name];
  sums.resize(static_cast<std::size_t>(rows));
  tbb::parallel_for(int64_t{0}, rows, [&](int64_t row) {
    double sum = 0;
    for (int64_t i = row * width; i < (row + 1) * width; ++i) {
      const double e = error.data()[i];
      if (std::isfinite(e)) sum += e * e;
    }
    sums[static_cast<std::size_t>(row)] += sum / kRuns;
  });
}

Array RowNoise::widened(const std::string& name, const Array& deviation) {
  const auto found = error_sq_.find(name);
  if (found == error_sq_.end() || found->second.empty()) return deviation;
  const int64_t width = width_of(deviation);
  Array wide = Array::copy_of(deviation.shape(), deviation.values());
  for (std::size_t row = 0; row < found->second.size(); ++row) {
    double* of_row = wide.data() + static_cast<int64_t>(row) * width;
    double sum = 0;
    for (int64_t i = 0; i < width; ++i) sum += of_row[i] * of_row[i];
    const double factor = sum > 0 ? kFewRuns * std::sqrt(found->second[row] / sum) : 0;
    if (!(factor > 1)) continue;
    for (int64_t i = 0; i < width; ++i) of_row[i] *= factor;
    if (factor <= largest_factor_) continue;
    largest_factor_ = factor;
    largest_at_ = name;
  }
  return wide;
}

}  // namespace assay::verify
