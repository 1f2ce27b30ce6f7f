#include "golden/precision.h"

#include <cmath>

#include "golden/error.h"
#include "golden/random.h"

namespace assay::golden {

Precision parse_precision(const std::string& text) {
  if (text == "fp64") return Precision::fp64;
  if (text == "fp32") return Precision::fp32;
  if (text == "bf16") return Precision::bf16;
  throw InputError("--precision " + text + ": no such precision; have fp32, bf16, fp64");
}

std::string precision_name(Precision precision) {
  switch (precision) {
    case Precision::fp64:
      return "fp64";
    case Precision::fp32:
      return "fp32";
    case Precision::bf16:
      return "bf16";
  }
  throw InternalError("precision_name: no such Precision");
}

double unit_roundoff(Precision precision) {
  switch (precision) {
    case Precision::fp64:
      return 0x1p-53;
    case Precision::fp32:
      return 0x1p-24;
    case Precision::bf16:
      return 0x1p-8;
  }
  throw InternalError("unit_roundoff: no such Precision");
}

double round_to(Precision precision, double x) {
  if (precision == Precision::fp64) return x;
  const float nearest = static_cast<float>(x);
  if (precision == Precision::fp32 || !std::isfinite(nearest)) return nearest;
  // Straight from the double: rounding to float first could move a value onto a tie.
  if (std::fabs(x) < 0x1p-126) {  // bfloat16 subnormals have a fixed step of 2^-133
    return std::nearbyint(x * 0x1p133) * 0x1p-133;
  }
  return static_cast<float>(round_to_bf16(x));
}

Precision PrecisionSchedule::storage_of(const std::string& tensor_name) const {
  const bool attention =
      tensor_name.ends_with("attn/scores") || tensor_name.ends_with("attn/probs");
  // The loss is a reduction: it is handed over in the accumulator type.
  return (attention && wide_attention) || tensor_name == "loss" ? accumulate : storage;
}

}  // namespace assay::golden
