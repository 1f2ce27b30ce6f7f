// Is a norm in 16 bits what its inputs give, or that times a number near 1? Another eps is an error
// of 0.05 % in every element, hidden below the rounding of each; but a norm's roundings can be
// made again, and then only that error is left.
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

// Of every RMSNorm and LayerNorm that is handed over in 16 bits together with its input. x is what
// the reference computes from `inputs`, y that with the roundings of an implementation:
//
//   excess = sum (candidate_i - y_i) x_i / sum x_i^2
//
// for the y that makes it smallest: rounded once at the end; after the quotient, the gain and the
// bias each; the same with a root that is rounded first. A candidate differs from its y where w_i,
// the worst case of what is computed in the accumulator type, leads across a tie, by a spacing s_i:
//
//   bound sum x_i^2 = sum w_i |x_i| + z sqrt( sum_g (sum_{i in g} s_i sqrt(min(1, 2 w_i / s_i)) |x_i|)^2 )
//
// over groups g of elements of one column that are equal to a quarter of s_i, which go the same
// way. Where inputs are roundings of what was computed with (inputs.held_wider), y = x, w_i is half
// the unit roundoff of x_i, s_i twice that, and all of a row go the same way, too.
std::vector<Slope> slope_view(const Case& file, const golden::PrecisionSchedule& schedule,
                              double false_alarm_rate, const LocalInputs& inputs,
                              const Ledger& ledger);

}  // namespace assay::verify
