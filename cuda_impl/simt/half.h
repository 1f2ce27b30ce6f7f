// Storage types of 16 bits: the same bits on the device, on the host, and without a CUDA toolkit.
//
//   bf16   1 sign, 8 exponent, 7 fraction bits     f16   1 sign, 5 exponent, 10 fraction bits
//
// float -> 16 bits rounds to nearest, ties to even; overflow gives infinity; every NaN becomes
// 0x7FFF, as cvt.rn.bf16.f32 and cvt.rn.f16.f32 do. 16 bits -> float is exact. A storage type S
// holds data in memory. Arithmetic happens in accum_t<S>: float for float, bf16 and f16, and S
// itself for everything else (double, or a scalar that carries more than a number).
#pragma once
#include <cstdint>
#include <cstring>

#include "cuda_impl/simt/backend.h"
#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace assay::simt {
inline namespace SIMT_BACKEND {
namespace bits {

SIMT_HD std::uint32_t of_float(float value) {
  std::uint32_t word;
  memcpy(&word, &value, sizeof word);
  return word;
}
SIMT_HD float to_float(std::uint32_t word) {
  float value;
  memcpy(&value, &word, sizeof value);
  return value;
}

// Drops the low `count` bits of a magnitude, to nearest even. A carry into the exponent is the
// right result.
SIMT_HD std::uint32_t round_off(std::uint32_t magnitude, int count) {
  const std::uint32_t is_odd = (magnitude >> count) & 1u;
  return (magnitude + ((1u << (count - 1)) - 1u) + is_odd) >> count;
}

SIMT_HD std::uint16_t bf16_of_float(float value) {
  const std::uint32_t word = of_float(value);
  const bool is_nan = (word & 0x7fffffffu) > 0x7f800000u;
  return static_cast<std::uint16_t>(is_nan ? 0x7fffu : round_off(word, 16));
}
SIMT_HD float float_of_bf16(std::uint16_t half) { return to_float(std::uint32_t{half} << 16); }

SIMT_HD std::uint16_t f16_of_float(float value) {
  const std::uint32_t word = of_float(value);
  const std::uint32_t sign = (word >> 16) & 0x8000u;
  const std::uint32_t magnitude = word & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7fffu;
  std::uint32_t half;
  if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
    half = 0x7c00u;
  } else if (magnitude < 0x38800000u) {
    // Below 2^-14 the result is a multiple of 2^-24, which is the spacing of floats in [0.5, 1):
    // the addition rounds.
    half = of_float(to_float(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    half = round_off(magnitude - 0x38000000u, 13);  // exponent bias 127 -> 15
  }
  return static_cast<std::uint16_t>(sign | half);
}
SIMT_HD float float_of_f16(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) * 0x10000u;
  const std::uint32_t exponent = (half >> 10) & 31u;
  const std::uint32_t fraction = half & 0x3ffu;
  if (exponent == 31u) return to_float(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0u) return to_float(sign | ((exponent + 112u) << 23) | (fraction << 13));
  return to_float(sign | of_float(static_cast<float>(fraction) * 0x1p-24f));
}

}  // namespace bits

struct bf16 {
  std::uint16_t bits;
  bf16() = default;
  SIMT_HD explicit bf16(float value) {
#if defined(__CUDA_ARCH__)
    bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
#else
    bits = bits::bf16_of_float(value);
#endif
  }
  SIMT_HD explicit operator float() const { return bits::float_of_bf16(bits); }
};

struct f16 {
  std::uint16_t bits;
  f16() = default;
  SIMT_HD explicit f16(float value) {
#if defined(__CUDA_ARCH__)
    bits = __half_as_ushort(__float2half_rn(value));
#else
    bits = bits::f16_of_float(value);
#endif
  }
  SIMT_HD explicit operator float() const {
#if defined(__CUDA_ARCH__)
    return __half2float(__ushort_as_half(bits));
#else
    return bits::float_of_f16(bits);
#endif
  }
};
static_assert(sizeof(bf16) == 2 && sizeof(f16) == 2);

template <class S>
struct Accum {
  using type = S;
};
template <>
struct Accum<bf16> {
  using type = float;
};
template <>
struct Accum<f16> {
  using type = float;
};
template <class S>
using accum_t = typename Accum<S>::type;

template <class S>
SIMT_HD accum_t<S> to_accum(S value) {
  return static_cast<accum_t<S>>(value);
}
// The only rounding from accum_t<S> to S.
template <class S>
SIMT_HD S from_accum(accum_t<S> value) {
  return static_cast<S>(value);
}

}  // namespace SIMT_BACKEND
}  // namespace assay::simt
