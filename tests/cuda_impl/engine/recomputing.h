// Models that run earlier layers again, and how far two of them are apart.
#pragma once

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "models.h"

namespace assay::engine_test {

// Every method that runs layers again, on every block.
inline std::vector<golden::ModelConfig> recomputing(int64_t layers) {
  std::vector<golden::ModelConfig> all;
  for (const golden::ModelConfig& config : models(layers)) {
    if (!recomputes(config)) continue;
    all.push_back(config);
    if (!golden::find_method(config.method).takes("residual")) continue;
    all.push_back(config);
    all.back().residual = golden::Residual::replace;
  }
  for (const golden::ModelConfig& config : windowed_models()) {
    if (recomputes(config)) all.push_back(config);
  }
  return all;
}

inline Tokens padded(int64_t B, int64_t T) {
  Tokens tokens(B, T);
  for (const std::size_t place : {0u, 1u, 5u}) tokens.mask[place] = 0;
  return tokens;
}

// The largest difference, in units of the largest element.
inline double difference(const std::vector<double>& a, const std::vector<double>& b) {
  BOOST_REQUIRE_EQUAL(a.size(), b.size());
  double largest = 0, most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i])) {
      BOOST_REQUIRE_EQUAL(a[i], b[i]);
      continue;
    }
    largest = std::max(largest, std::fabs(a[i]));
    most = std::max(most, std::fabs(a[i] - b[i]));
  }
  return largest == 0 ? most : most / largest;
}

}  // namespace assay::engine_test
