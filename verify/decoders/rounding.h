// How large the roundings of a program are that nobody has told of.
#pragma once

#include <string>

#include "golden/contract/precision.h"
#include "verify/leakage/recording.h"

namespace assay::verify {

struct Rounding {
  golden::Precision precision = golden::Precision::fp32;
  bool is_declared = false;  // else it is what the values of the tensors are numbers of
  bool is_certain = false;   // declared, or too many tensors have such values to hide coarser ones
  // Parts of a tensor's largest value. Sums in another order differ by no more than `faint` in one
  // product, and by no more than `whole` after a whole pass.
  double faint = 0, whole = 0;
};

// The coarsest type that holds every value of a fourth of the tensors, if it is not declared.
// Values are looked at, not containers: numbers that were rounded to bf16 are bf16, whatever holds
// them.
Rounding rounding_of(const Recording& recording, const std::string& declared);

Rounding declared_rounding(golden::Precision precision);

// What a difference that is `size` of the largest value beside it says, between runs that may
// differ by rounding: nothing, too much for rounding, or no more than a coarser type inside may
// bring.
enum class Size { rounding, doubtful, large };
Size size_of(const Rounding& rounding, double size);

// "fp32 (by its values)"
std::string rounding_text(const Rounding& rounding);

}  // namespace assay::verify
