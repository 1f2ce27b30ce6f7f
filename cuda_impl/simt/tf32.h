// tf32: what tensor cores read of a float, in the same 32 bits.
//
//   1 sign, 8 exponent, 10 fraction bits, and 13 bits that are 0
//
// float -> tf32 rounds to nearest, ties to even; overflow gives infinity; every NaN becomes one.
// The same bits on the device and on the host: cvt.rna.tf32.f32, which sm_80 has alone, would round
// ties away from zero. tf32 -> float is exact. Nothing is stored as tf32: it is how a product reads
// a float.
#pragma once
#include "cuda_impl/simt/half.h"

namespace assay::simt {
inline namespace SIMT_BACKEND {
namespace bits {

SIMT_HD std::uint32_t tf32_of_float(float value) {
  const std::uint32_t word = of_float(value);
  const bool is_nan = (word & 0x7fffffffu) > 0x7f800000u;
  return is_nan ? 0x7fffe000u : round_off(word, 13) << 13;
}

}  // namespace bits

struct tf32 {
  std::uint32_t bits;
  tf32() = default;
  SIMT_HD explicit tf32(float value) : bits(bits::tf32_of_float(value)) {}
  SIMT_HD explicit operator float() const { return bits::to_float(bits); }
};
static_assert(sizeof(tf32) == sizeof(float));

}  // namespace SIMT_BACKEND
}  // namespace assay::simt
