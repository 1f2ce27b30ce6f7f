// What the logits say of the reported loss: which token does it score?
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "verify/training/evidence.h"

namespace assay::verify::training {

inline constexpr int kFirstOffset = -2, kLastOffset = 8;

struct OffsetProfile {
  // l(k) = mean over t of -log p_t(x[t+k]), k = -2 .. 8, p_t the prediction made at position t:
  // k = 1 is the next token.
  std::vector<double> losses;  // NaN where no position has such a token
  double worst_sum = 0;        // the largest |sum of probabilities - 1| of what came as log p
  double variance = 0;         // of the logits over positions, the largest of any token
  std::optional<double> reported;
  std::optional<int> matches;  // k*: the one k with l(k) = reported, if not k = 1
  bool is_next = false;        // l(1) = reported
  double tolerance = 0;

  double loss(int k) const { return losses[static_cast<std::size_t>(k - kFirstOffset)]; }
};

// `reported` is the loss of these tokens as the training program gives it, to within `tolerance`;
// the mean of per-token losses where those are given.
OffsetProfile offset_profile(const Logits& logits, std::optional<double> reported,
                             double tolerance);

// -log p of each next token, [N,T-1], in double.
std::vector<double> next_token_losses(const Logits& logits);

}  // namespace assay::verify::training
