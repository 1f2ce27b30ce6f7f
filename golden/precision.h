// What a candidate says about its arithmetic; the bounds of verify/ are derived from it.
#pragma once

#include <string>

namespace assay::golden {

enum class Precision { fp64, fp32, bf16 };

Precision parse_precision(const std::string& text);  // throws InputError naming what there is
std::string precision_name(Precision precision);
double unit_roundoff(Precision precision);       // half an ulp of 1: 2^-53, 2^-24, 2^-8
double round_to(Precision precision, double x);  // nearest, ties to even

// storage: what tensors between kernels are stored in. accumulate: what a kernel computes in.
// wide_attention: scores and probabilities never leave the accumulator type (fused attention).
struct PrecisionSchedule {
  Precision storage = Precision::fp32;
  Precision accumulate = Precision::fp32;
  bool wide_attention = true;

  // The type in which the named tensor is stored.
  Precision storage_of(const std::string& tensor_name) const;
};

}  // namespace assay::golden
