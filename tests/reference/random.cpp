#include "tests/reference/random.h"

#include <cmath>
#include <cstring>

#include "golden/contract/random.h"

namespace assay::reference::testing {

std::vector<double> uniform(uint64_t seed, const std::string& name, int64_t count) {
  std::vector<uint32_t> words(static_cast<std::size_t>(count));
  golden::random_words(seed, golden::stream_id(name), 0, words);
  std::vector<double> values;
  for (const uint32_t word : words) values.push_back((word + 0.5) * 0x1p-31 - 1.0);
  return values;
}

Array random_array(const Shape& shape, uint64_t seed, const std::string& name) {
  return Array::copy_of(shape, uniform(seed, name, golden::element_count(shape)));
}

bool same_bits(std::span<const double> x, std::span<const double> y) {
  return x.size() == y.size() &&
         (x.empty() || std::memcmp(x.data(), y.data(), x.size_bytes()) == 0);
}

double relative_error(std::span<const double> x, std::span<const double> y) {
  if (x.size() != y.size()) return INFINITY;
  double error = 0, scale = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (std::isfinite(y[i])) {
      scale = std::fmax(scale, std::fabs(y[i]));
      if (!(std::fabs(x[i] - y[i]) <= error)) error = std::fabs(x[i] - y[i]);
      if (std::isnan(error)) return INFINITY;
    } else if (x[i] != y[i]) {
      return INFINITY;
    }
  }
  return error == 0 ? 0 : error / scale;
}

}  // namespace assay::reference::testing
