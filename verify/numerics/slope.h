// Does a checkpoint equal what its inputs give, or that times a number near 1? In 16 bits an error
// of 0.05 % in every element, as another eps of a norm makes it, hides below the rounding of each;
// roundings average out over a tensor and such an error does not.
#pragma once

#include <string>
#include <vector>

#include "verify/numerics/views.h"

namespace assay::verify {

struct Slope {
  std::string name;
  double excess = 0;  // of the least-squares slope of the candidate on what is due, over 1
  double bound = 0;   // on its size
  double ratio() const;
};

// With x what the reference computes from `inputs` and e the candidate's deviation from x rounded to
// storage, as it has to be in most elements:
//
//   excess = sum e_i x_i / sum x_i^2,   |sum e_i x_i| <= sum (w_i + u/32 |x_i|) |x_i| + z sqrt(V)
//
// u/32 of the unit roundoff are for roundings that depend on what they round. w_i is the worst case of what is computed in the accumulator type, which may err alike in all
// elements. Roundings to storage have no such direction: V = sum m^2 sigma_i^2 x_i^2 over different
// rows, of which m are equal and err alike, sigma_i the deviation by error analysis and that of one
// rounding more, for e is a difference of two. Where inputs
// are roundings of what was computed with (inputs.held_wider), a row's errors are taken for alike:
// V = sum m^2 (sum sigma_i |x_i|)^2 over rows, and only norms are judged.
//
// Judged are checkpoints of 16 bits made of norms, products with weights, activations and sums:
// roundings of rotation tables and of probabilities are shared between elements.
std::vector<Slope> slope_view(const Case& file, const golden::PrecisionSchedule& schedule,
                              double false_alarm_rate, const LocalInputs& inputs,
                              const Ledger& ledger);

}  // namespace assay::verify
