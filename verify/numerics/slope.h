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
//   excess = sum (candidate_i - y_i) v_i / sum x_i v_i,   v_i = x_i / s_i^2
//
// with s_i the spacing of the storage type at x_i, so that every element counts alike, for the y
// that makes it smallest: rounded once at the end; after the quotient, the gain and the bias each;
// the same with a root that is rounded first. Its bound, times sum x_i v_i:
//
//   sum w_i |v_i| + z sqrt( sum_g (sum_{i in g} s_i |v_i|)^2 / 3
//                           + sum_h (sum_{i in h} s'_i |d_i|)^2 / 12 )
//
// w_i is the worst case of what is computed in the accumulator type. The input may be a rounding of
// what was computed with, which moves sum v_i y_i by d_i for each unit of it, and makes y another
// draw of roundings: s'_i is the spacing at the input. Roundings of equal numbers are alike: g are
// elements of one column equal to s_i / 4, h those of one column whose inputs are equal.
std::vector<Slope> slope_view(const Case& file, const golden::PrecisionSchedule& schedule,
                              double false_alarm_rate, const LocalInputs& inputs,
                              const Ledger& ledger);

}  // namespace assay::verify
