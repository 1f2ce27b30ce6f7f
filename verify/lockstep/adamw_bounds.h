// A step of AdamW on one element, with what an implementation may make of it.
//
// With g the gradient as the moments read it (clipped), n the number of the step from 1:
//   (1)  m = b1 m + (1 - b1) g
//   (2)  v = b2 v + (1 - b2) g^2
//   (3)  d = (m / (1 - b1^n)) / (sqrt(v / (1 - b2^n)) + eps)
//   (4)  w = w - rate (d + decay w)
//
// Every number comes with a spread: how far an implementation's may lie from it. Spreads of m, v, w
// and g are carried on by intervals, so that they hold where v is near 0 and (3) bends: there a
// gradient known but for its sign gives d = -1 or 1. Roundings to the master type, of unit u, are
// added for any order of the operations, a running average formed as a + (1 - b)(x - a) too. From
// moments that started at 0, by the inequality of Cauchy and Schwarz,
//   (5)  |d| <= sqrt(sum_{i<n} (b1^2 / b2)^i) (1 - b1) / sqrt(1 - b2) sqrt(1 - b2^n) / (1 - b1^n)
#pragma once

#include <cstdint>

#include "reference/training/adamw.h"
#include "verify/subjects/training/training_subject.h"

namespace assay::verify {

struct Around {
  double value = 0, spread = 0;
};

struct AdamwElement {
  Around weight, first, second;
};

class AdamwBounds {
 public:
  AdamwBounds(const reference::AdamwRule& rule, const TrainingArithmetic& arithmetic,
              int64_t number, double rate);

  AdamwElement operator()(const AdamwElement& before, Around gradient, bool decays) const;
  // (3) and (4) from moments behind the step.
  Around weight_from(Around before, Around first, Around second, bool decays) const;

 private:
  Around first(Around before, Around gradient) const;
  Around second(Around before, Around gradient) const;
  Around direction(Around first, Around second) const;
  Around weight(Around before, Around direction, bool decays) const;

  reference::AdamwRule rule_;
  double rate_;
  double unit_, least_;               // of the master type, and of ours in double
  double correction1_, correction2_;  // 1 - b^n
  double share1_, share2_;            // relative errors of 1 - b
  double corrected1_, corrected2_;    // and of 1 - b^n
  double largest_;                    // of (5)
};

// The factor min(1, max_norm / (norm + e)) that gradients are multiplied by; norm_spread: how far
// the implementation's norm may lie from `norm`.
Around clip_factor(const reference::AdamwRule& rule, const TrainingArithmetic& arithmetic,
                   Around norm);

// A gradient as the moments read it.
Around clipped(Around gradient, Around factor, golden::Precision master);

// Relative error of a norm of so many elements that an implementation sums up in this type, in
// whatever order: each partial sum is rounded, which deviates by unit sqrt(n) / 6 altogether
// (of a sum, unit sqrt(n) / 3: the root halves it), and the squares and the root by a few more.
double norm_error(golden::Precision type, int64_t elements, double reach);

}  // namespace assay::verify
