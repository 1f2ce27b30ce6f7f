#include "verify/training/offsets.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace assay::verify::training {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double log_sum_exp(const double* row, int64_t vocab) {
  const double most = *std::max_element(row, row + vocab);
  if (!std::isfinite(most)) return most;
  double sum = 0;
  for (int64_t v = 0; v < vocab; ++v) sum += std::exp(row[v] - most);
  return most + std::log(sum);
}

const double* row_of(const Logits& logits, int64_t n, int64_t t) {
  return logits.values.data() + (n * logits.positions + t) * logits.vocab;
}

// The largest variance over positions that any token's logit has; infinite where one is no number.
double variance_over_positions(const Logits& logits) {
  const auto count = static_cast<double>(logits.rows * logits.positions);
  double most = 0;
  for (int64_t v = 0; v < logits.vocab; ++v) {
    double mean = 0, square = 0;
    for (int64_t i = 0; i < logits.rows * logits.positions; ++i) {
      mean += logits.values[static_cast<std::size_t>(i * logits.vocab + v)] / count;
    }
    for (int64_t i = 0; i < logits.rows * logits.positions; ++i) {
      const double rest = logits.values[static_cast<std::size_t>(i * logits.vocab + v)] - mean;
      square += rest * rest / count;
    }
    if (!std::isfinite(square)) return std::numeric_limits<double>::infinity();
    most = std::max(most, square);
  }
  return most;
}

void match(OffsetProfile& profile) {
  const double reported = *profile.reported;
  const auto equals = [&](int k) {
    return std::abs(profile.loss(k) - reported) <= profile.tolerance;
  };
  profile.is_next = equals(1);
  if (profile.is_next) return;
  for (int k = kFirstOffset; k <= kLastOffset; ++k) {
    if (!equals(k)) continue;
    if (profile.matches) {  // several do: nothing is told
      profile.matches.reset();
      return;
    }
    profile.matches = k;
  }
}

}  // namespace

OffsetProfile offset_profile(const Logits& logits, std::optional<double> reported,
                             double tolerance) {
  OffsetProfile profile;
  profile.reported = reported;
  profile.tolerance = tolerance;
  constexpr int kOffsets = kLastOffset - kFirstOffset + 1;
  std::vector<double> sums(kOffsets, 0.0), counts(kOffsets, 0.0);
  for (int64_t n = 0; n < logits.rows; ++n) {
    for (int64_t t = 0; t < logits.positions; ++t) {
      const double* row = row_of(logits, n, t);
      const double lse = log_sum_exp(row, logits.vocab);
      if (logits.are_log_probs) {
        const double off = std::abs(std::expm1(lse));
        profile.worst_sum = off <= profile.worst_sum ? profile.worst_sum : off;
      }
      for (int k = kFirstOffset; k <= kLastOffset; ++k) {
        if (t + k < 0 || t + k >= logits.positions) continue;
        const int32_t token = logits.tokens[static_cast<std::size_t>(n * logits.positions + t + k)];
        if (token < 0 || token >= logits.vocab) continue;
        const auto at = static_cast<std::size_t>(k - kFirstOffset);
        sums[at] += lse - row[token];
        counts[at] += 1;
      }
    }
  }
  for (std::size_t k = 0; k < sums.size(); ++k) {
    profile.losses.push_back(counts[k] > 0 ? sums[k] / counts[k] : kNaN);
  }
  profile.variance = variance_over_positions(logits);
  if (reported) match(profile);
  return profile;
}

std::vector<double> next_token_losses(const Logits& logits) {
  std::vector<double> losses;
  for (int64_t n = 0; n < logits.rows; ++n) {
    for (int64_t t = 0; t + 1 < logits.positions; ++t) {
      const double* row = row_of(logits, n, t);
      const int32_t token = logits.tokens[static_cast<std::size_t>(n * logits.positions + t + 1)];
      const bool known = token >= 0 && token < logits.vocab;
      losses.push_back(known ? log_sum_exp(row, logits.vocab) - row[token] : kNaN);
    }
  }
  return losses;
}

}  // namespace assay::verify::training
