// bf16, f16 and tf32 against their definition: value = (-1)^sign (fraction + implicit) 2^(exponent
// - bias).
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "cuda_impl/simt/simt.h"
#include "cuda_impl/simt/tf32.h"

namespace simt = assay::simt;

namespace {

// The definition, in double arithmetic.
double value_of(unsigned bits, int exponent_bits, int fraction_bits) {
  const unsigned exponent = (bits >> fraction_bits) & ((1u << exponent_bits) - 1u);
  const unsigned fraction = bits & ((1u << fraction_bits) - 1u);
  const double sign = bits & 0x8000u ? -1.0 : 1.0;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  if (exponent == (1u << exponent_bits) - 1u) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  const unsigned significand = exponent != 0 ? fraction | 1u << fraction_bits : fraction;
  const int scale = static_cast<int>(exponent != 0 ? exponent : 1u) - bias - fraction_bits;
  return sign * std::ldexp(significand, scale);
}

template <class S>
S from_bits(unsigned bits) {
  S value;
  value.bits = static_cast<std::uint16_t>(bits);
  return value;
}

template <class S>
unsigned count_wrong_values(int exponent_bits, int fraction_bits) {
  unsigned wrong = 0;
  for (unsigned bits = 0; bits < 0x10000u; ++bits) {
    const double want = value_of(bits, exponent_bits, fraction_bits);
    const auto got = static_cast<double>(static_cast<float>(from_bits<S>(bits)));
    const bool right =
        std::isnan(want) ? std::isnan(got) : got == want && std::signbit(got) == std::signbit(want);
    wrong += !right;
  }
  return wrong;
}

// Rounding is monotonic, so it is right everywhere if it is right at each midpoint between
// neighbours, and one float below and above it. Above the largest finite value comes infinity, as
// if it were the next one.
template <class S>
unsigned count_wrong_roundings(unsigned infinity_bits, int exponent_bits, int fraction_bits) {
  unsigned wrong = 0;
  for (unsigned lower = 0; lower < infinity_bits; ++lower) {
    const double low = value_of(lower, exponent_bits, fraction_bits);
    const double step = lower + 1 < infinity_bits
                            ? value_of(lower + 1, exponent_bits, fraction_bits) - low
                            : low - value_of(lower - 1, exponent_bits, fraction_bits);
    const auto middle = static_cast<float>(low + step / 2);  // exact: one bit more than S has
    const unsigned even = lower + (lower & 1u);
    for (const float sign : {1.0f, -1.0f}) {
      const unsigned sign_bit = sign < 0 ? 0x8000u : 0u;
      const float below = std::nextafter(middle, 0.0f);
      const float above = std::nextafter(middle, std::numeric_limits<float>::infinity());
      wrong += S(sign * static_cast<float>(low)).bits != (lower | sign_bit);
      wrong += S(sign * below).bits != (lower | sign_bit);
      wrong += S(sign * middle).bits != (even | sign_bit);
      wrong += S(sign * above).bits != ((lower + 1) | sign_bit);
    }
  }
  return wrong;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_value_of_bf16_and_f16_reads_as_defined) {
  BOOST_TEST(count_wrong_values<simt::bf16>(8, 7) == 0u);
  BOOST_TEST(count_wrong_values<simt::f16>(5, 10) == 0u);
}

BOOST_AUTO_TEST_CASE(every_rounding_boundary_goes_to_nearest_even) {
  BOOST_TEST(count_wrong_roundings<simt::bf16>(0x7f80u, 8, 7) == 0u);
  BOOST_TEST(count_wrong_roundings<simt::f16>(0x7c00u, 5, 10) == 0u);
}

BOOST_AUTO_TEST_CASE(infinity_stays_and_every_nan_becomes_the_canonical_one) {
  const float infinity = std::numeric_limits<float>::infinity();
  BOOST_TEST(simt::bf16(infinity).bits == 0x7f80u);
  BOOST_TEST(simt::f16(infinity).bits == 0x7c00u);
  BOOST_TEST(simt::bf16(-infinity).bits == 0xff80u);
  BOOST_TEST(simt::f16(-infinity).bits == 0xfc00u);
  BOOST_TEST(simt::f16(std::numeric_limits<float>::max()).bits == 0x7c00u);
  for (const std::uint32_t word :
       {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    BOOST_TEST(simt::bf16(simt::bits::to_float(word)).bits == 0x7fffu);
    BOOST_TEST(simt::f16(simt::bits::to_float(word)).bits == 0x7fffu);
  }
}

namespace {

// tf32 is the upper 19 bits of a float; whatever follows them is given by `low`.
unsigned count_wrong_tf32(std::uint32_t low, std::uint32_t up_from_odd,
                          std::uint32_t up_from_even) {
  unsigned wrong = 0;
  for (std::uint32_t upper = 0; upper < 0x7f800000u >> 13; ++upper) {
    const std::uint32_t up = (upper & 1u) != 0 ? up_from_odd : up_from_even;
    for (const std::uint32_t sign : {0u, 0x80000000u}) {
      const float value = simt::bits::to_float(sign | upper << 13 | low);
      wrong += simt::tf32(value).bits != (sign | (upper + up) << 13);
    }
  }
  return wrong;
}

}  // namespace

// Every tf32 value of both signs, and the floats between it and the next one.
BOOST_AUTO_TEST_CASE(tf32_is_the_upper_bits_of_a_float_to_nearest_even) {
  BOOST_TEST(count_wrong_tf32(0, 0, 0) == 0u);
  BOOST_TEST(count_wrong_tf32(1, 0, 0) == 0u);
  BOOST_TEST(count_wrong_tf32(0x0fffu, 0, 0) == 0u);
  BOOST_TEST(count_wrong_tf32(0x1000u, 1, 0) == 0u);  // a tie
  BOOST_TEST(count_wrong_tf32(0x1001u, 1, 1) == 0u);
  BOOST_TEST(count_wrong_tf32(0x1fffu, 1, 1) == 0u);  // the largest floats become infinite
  const float infinity = std::numeric_limits<float>::infinity();
  BOOST_TEST(static_cast<float>(simt::tf32(infinity)) == infinity);
  BOOST_TEST(static_cast<float>(simt::tf32(-infinity)) == -infinity);
  BOOST_TEST(static_cast<float>(simt::tf32(1 + 0x1p-10f)) == 1 + 0x1p-10f);
  BOOST_TEST(static_cast<float>(simt::tf32(1 + 0x1p-11f)) == 1.0f);
  BOOST_TEST(static_cast<float>(simt::tf32(0x1p-136f)) == 0x1p-136f);  // the least subnormal
  BOOST_TEST(static_cast<float>(simt::tf32(0x1p-137f)) == 0.0f);
  for (const std::uint32_t word :
       {0x7f800001u, 0x7fc00000u, 0x7fffffffu, 0xff800001u, 0xffffffffu}) {
    BOOST_TEST(std::isnan(static_cast<float>(simt::tf32(simt::bits::to_float(word)))));
  }
}

BOOST_AUTO_TEST_CASE(arithmetic_is_float_for_16_bits_and_the_type_itself_otherwise) {
  static_assert(std::is_same_v<simt::accum_t<simt::bf16>, float>);
  static_assert(std::is_same_v<simt::accum_t<simt::f16>, float>);
  static_assert(std::is_same_v<simt::accum_t<float>, float>);
  static_assert(std::is_same_v<simt::accum_t<double>, double>);
  BOOST_TEST(simt::to_accum(simt::from_accum<simt::bf16>(1.00390625f)) ==
             1.0f);  // 1 + 2^-8: a tie, to even
  BOOST_TEST(simt::to_accum(simt::from_accum<double>(0.1)) == 0.1);
}
