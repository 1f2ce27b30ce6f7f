#include "verify/numerics/sampled_noise.h"

#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "reference/interpreters/error.h"
#include "reference/interpreters/tangent.h"

namespace assay::verify {
namespace {

using reference::Array;
using reference::NodeData;

constexpr int kRuns = 8;
// So many draws find less than there is. Where all of a row goes one way, their mean square is that
// of kRuns independent numbers: of normal ones it is below 1 / 1.5^2 of its expectation in 11 runs
// of 100, and below 1 / 3^2, from which on 1.5 and the tolerance's own allowance of 2 no longer
// cover it, in 9 of 10,000 (chi-squared, 8 degrees of freedom).
constexpr double kFewRuns = 1.5;

int64_t width_of(const Array& tensor) {
  return tensor.shape().empty() ? 1 : std::max<int64_t>(1, tensor.shape().back());
}

// By name, the deviation of what each declared checkpoint adds to the errors of its inputs.
using Deviations = std::map<std::string, std::vector<float>>;

class OwnDeviations : public reference::ErrorObserver {
 public:
  OwnDeviations(const Case& file, const golden::PrecisionSchedule& schedule,
                const GoldenValues& golden)
      : file_(file), schedule_(schedule), golden_(golden) {}

  bool wants(const NodeData& node) override { return file_.declares(node.name); }
  bool gives(const NodeData& node) override { return file_.declares(node.name); }
  std::pair<Array, Array> given(const NodeData& node) override {
    return {golden_.read(node.name), Array()};
  }
  Array error_of_input(const NodeData& node, const Array& value) override {
    return file_.weight_error(schedule_.storage, node, value);
  }
  void observe(const NodeData& node, const Array&, const Array& error) override {
    found[node.name] = {error.values().begin(), error.values().end()};
  }

  Deviations found;

 private:
  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  const GoldenValues& golden_;
};

// Uniform in [0, 1), the same for equal x: the finalizer of SplitMix64 (Steele, Lea and Flood,
// "Fast splittable pseudorandom number generators", OOPSLA 2014).
double uniform_of(double x, uint64_t stream) {
  uint64_t bits = std::bit_cast<uint64_t>(x) ^ (stream * 0x9e3779b97f4a7c15);
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return static_cast<double>((bits ^ (bits >> 31)) >> 32) * 0x1p-32;
}

// One draw of every checkpoint's own error, and what it grows to along the way, to first order.
class Draw : public reference::TangentObserver {
 public:
  Draw(const Case& file, const GoldenValues& golden, const Deviations& own, uint64_t seed,
       std::map<std::string, std::vector<double>>& error_sq)
      : file_(file), golden_(golden), own_(own), seed_(seed), error_sq_(error_sq) {}

  Array direction(const NodeData& node) override {
    const auto found = own_.find(node.name);
    if (found == own_.end()) return {};
    const Array golden = golden_.read(node.name);
    Array drawn = Array::uninitialized(golden.shape());
    const uint64_t stream = (seed_ << 32) + static_cast<uint64_t>(file_.graph->find(node.name));
    tbb::parallel_for(tbb::blocked_range<int64_t>(0, golden.size(), 1 << 14), [&](const auto& r) {
      for (int64_t i = r.begin(); i < r.end(); ++i) {
        const double uniform = 2 * uniform_of(golden.data()[i], stream) - 1;  // variance 1/3
        const double deviation = found->second[static_cast<std::size_t>(i)];
        drawn.data()[i] = deviation == 0 ? 0 : std::sqrt(3.0) * deviation * uniform;
      }
    });
    return drawn;
  }

  void observe(const NodeData& node, const Array&, const Array& tangent) override {
    const auto found = error_sq_.find(node.name);
    if (found == error_sq_.end()) return;
    const int64_t width = width_of(tangent), rows = tangent.size() / width;
    std::vector<double>& sums = found->second;
    sums.resize(static_cast<std::size_t>(rows));
    tbb::parallel_for(int64_t{0}, rows, [&](int64_t row) {
      double sum = 0;
      for (int64_t i = row * width; i < (row + 1) * width; ++i) {
        const double error = tangent.data()[i];
        if (std::isfinite(error)) sum += error * error;
      }
      sums[static_cast<std::size_t>(row)] += sum / kRuns;
    });
  }

 private:
  const Case& file_;
  const GoldenValues& golden_;
  const Deviations& own_;
  uint64_t seed_;
  std::map<std::string, std::vector<double>>& error_sq_;
};

}  // namespace

SampledNoise::SampledNoise(const Case& file, const golden::PrecisionSchedule& schedule,
                           const GoldenValues& golden) {
  OwnDeviations own(file, schedule, golden);
  reference::evaluate_with_error(*file.graph, file.bindings, schedule,
                                 reference::ErrorNorm::deviation, own);
  for (const Checkpoint& checkpoint : file.asked) error_sq_[checkpoint.name];
  for (uint64_t run = 1; run <= kRuns; ++run) {
    Draw draw(file, golden, own.found, run, error_sq_);
    reference::evaluate_with_tangent(*file.graph, file.bindings, draw);
  }
}

int SampledNoise::runs() const { return kRuns; }

Array SampledNoise::widened(const std::string& name, const Array& deviation) {
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
