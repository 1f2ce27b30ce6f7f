// What a predictor that has all probabilities of its next token can say of them. Internal.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include "datasets/known/law.h"

namespace assay::datasets {

inline double dense_probability(std::span<const double> p, int32_t token) {
  const bool known = token >= 0 && static_cast<std::size_t>(token) < p.size();
  return known ? p[static_cast<std::size_t>(token)] : 0;
}

// The sum is made in ascending order; what rounding leaves over goes to the last token that can be.
inline int32_t dense_quantile(std::span<const double> p, double u) {
  double below = 0;
  int32_t last = 0;
  for (std::size_t v = 0; v < p.size(); ++v) {
    if (p[v] <= 0) continue;
    last = static_cast<int32_t>(v);
    below += p[v];
    if (u < below) break;
  }
  return last;
}

inline Surprise dense_surprise(std::span<const double> p) {
  double mean = 0, square = 0;
  for (const double probability : p) {
    if (probability <= 0) continue;
    const double nats = -std::log(probability);
    mean += probability * nats;
    square += probability * nats * nats;
  }
  return {mean, std::max(0.0, square - mean * mean)};
}

}  // namespace assay::datasets
