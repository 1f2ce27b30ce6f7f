// Element types of the exchange formats: exact into double, and back only where they hold a value.
#include "golden/file/element.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/golden/sample.h"

namespace tt = boost::test_tools;

namespace assay::golden {
namespace {

using namespace sample;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
std::vector<double> decoded(Element element, const std::vector<T>& stored) {
  std::vector<double> out(stored.size() * sizeof(T) / element_bytes(element));
  decode(element, reinterpret_cast<const std::byte*>(stored.data()), out, "t");
  return out;
}

std::vector<double> round_trip(Element element, const std::vector<double>& values,
                               Rounding rounding = Rounding::refuse) {
  return decoded(element, encode(element, values, rounding, "t"));
}

std::string refusal(Element element, std::vector<double> values,
                    Rounding rounding = Rounding::refuse) {
  return complaint([&] { encode(element, values, rounding, "f: w"); });
}

}  // namespace

// 1, -2, the largest, the smallest, the largest subnormal, the smallest normal number, infinity.
BOOST_AUTO_TEST_CASE(float16_bits_mean_what_ieee_says) {
  const std::vector<uint16_t> bits{0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0xfc00};
  const std::vector<double> due{1, -2, 65504, 0x1p-24, 0x3ffp-24, 0x1p-14, -kInfinity};
  BOOST_TEST(decoded(Element::f16, bits) == due, tt::per_element());
  BOOST_TEST(std::isnan(decoded(Element::f16, std::vector<uint16_t>{0x7e00})[0]));
  BOOST_TEST(std::signbit(decoded(Element::f16, std::vector<uint16_t>{0x8000})[0]));
}

// Neighbouring float16 numbers differ by 2^(e-10), which no wrong exponent or mantissa fits.
BOOST_AUTO_TEST_CASE(every_finite_float16_is_one_step_from_the_next) {
  std::vector<uint16_t> bits(0x7c00);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  const std::vector<double> values = decoded(Element::f16, bits);
  BOOST_TEST(values[0] == 0.0);
  for (std::size_t i = 1; i < values.size(); ++i) {
    const int exponent = values[i - 1] < 0x1p-14 ? -14 : std::ilogb(values[i - 1]);
    BOOST_TEST(values[i] - values[i - 1] == std::ldexp(1.0, exponent - 10));
  }
}

BOOST_AUTO_TEST_CASE(every_float16_is_written_as_it_was_read) {
  std::vector<uint16_t> bits;
  for (int i = 0; i < 0x10000; ++i) {
    if ((i & 0x7fff) <= 0x7c00) bits.push_back(static_cast<uint16_t>(i));  // NaN excepted
  }
  const std::vector<std::byte> back =
      encode(Element::f16, decoded(Element::f16, bits), Rounding::refuse, "t");
  BOOST_TEST((std::memcmp(back.data(), bits.data(), back.size()) == 0));
  BOOST_TEST(contains(refusal(Element::f16, {65520}), "F16 does not hold 65520"));
}

BOOST_AUTO_TEST_CASE(whole_numbers_and_booleans_are_exact) {
  BOOST_TEST(decoded(Element::i64, std::vector<int64_t>{-7, int64_t{1} << 53}) ==
                 (std::vector<double>{-7, 0x1p53}),
             tt::per_element());
  BOOST_TEST(decoded(Element::i32, std::vector<int32_t>{-100, 1 << 30}) ==
                 (std::vector<double>{-100, 0x1p30}),
             tt::per_element());
  BOOST_TEST(decoded(Element::u8, std::vector<uint8_t>{0, 255}) == (std::vector<double>{0, 255}),
             tt::per_element());
  const int64_t beyond[] = {0, (int64_t{1} << 53) + 2};
  double out[2];
  BOOST_TEST(complaint([&] {
               decode(Element::i64, reinterpret_cast<const std::byte*>(beyond), out, "f: t");
             }) ==
             "f: t: element 1: expected a whole number of at most 2^53, got 9007199254740994");
  const std::byte two{2};
  BOOST_TEST(complaint([&] {
               decode(Element::boolean, &two, {out, 1}, "f: t");
             }) == "f: t: element 0: expected 0 or 1, got 2");
}

// 1 + 2^-7 fits bfloat16, 1 + 2^-8 float32 only, 1 + 2^-30 double only.
BOOST_AUTO_TEST_CASE(what_a_type_holds_comes_back_and_what_it_does_not_is_refused) {
  const std::vector<double> coarse{1 + 0x1p-7, -0.0, kInfinity, 0x1p-133, -0x1.fep127};
  const std::vector<double> middle{1 + 0x1p-8, -3.25, 0x1p-149};
  const std::vector<double> fine{1 + 0x1p-30, 0x1p-1074, 1e300};
  const auto same = [](const std::vector<double>& a, const std::vector<double>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
  };
  for (const Element element : {Element::bf16, Element::f32, Element::f64}) {
    BOOST_TEST(same(round_trip(element, coarse), coarse), element_name(element));
  }
  for (const Element element : {Element::f32, Element::f64}) {
    BOOST_TEST(same(round_trip(element, middle), middle), element_name(element));
  }
  BOOST_TEST(same(round_trip(Element::f64, fine), fine));
  BOOST_TEST(refusal(Element::bf16, {0.5, 1 + 0x1p-8}) ==
             "f: w: element 1: BF16 does not hold 1.00390625 exactly; --round takes the nearest "
             "value");
  BOOST_TEST(contains(refusal(Element::f32, {1 + 0x1p-30}), "element 0: F32 does not hold"));
  BOOST_TEST(contains(refusal(Element::i32, {0.5}), "I32 does not hold 0.5 exactly"));
  BOOST_TEST(contains(refusal(Element::i32, {0x1p31}), "I32 does not hold 2147483648"));
  BOOST_TEST(contains(refusal(Element::u8, {256}, Rounding::nearest), "U8 does not hold 256"));
}

// Halfway between two bfloat16 numbers: to the even one, up and down.
BOOST_AUTO_TEST_CASE(rounding_takes_the_nearest_ties_to_even) {
  BOOST_TEST(round_trip(Element::bf16, {1 + 0x1p-8, 1 + 0x3p-8, 1 + 0x1p-8 + 0x1p-40},
                        Rounding::nearest) == (std::vector<double>{1, 1 + 0x1p-6, 1 + 0x1p-7}),
             tt::per_element());
  BOOST_TEST(round_trip(Element::f32, {1 + 0x1p-24, 0.1}, Rounding::nearest) ==
                 (std::vector<double>{1, static_cast<double>(0.1f)}),
             tt::per_element());
}

BOOST_AUTO_TEST_CASE(nan_stays_nan_in_every_float_type) {
  for (const Element element : {Element::bf16, Element::f16, Element::f32, Element::f64}) {
    BOOST_TEST(std::isnan(round_trip(element, {std::nan("")})[0]), element_name(element));
  }
  BOOST_TEST(contains(refusal(Element::i32, {std::nan("")}), "I32 does not hold nan"));
}

BOOST_AUTO_TEST_CASE(names_are_those_of_the_format) {
  BOOST_TEST((element_named("BF16") == Element::bf16));
  BOOST_TEST((element_named("BOOL") == Element::boolean));
  BOOST_TEST(!element_named("F8_E4M3").has_value());
  BOOST_TEST(!element_named("f32").has_value());
  for (const DType dtype :
       {DType::float64, DType::float32, DType::bfloat16, DType::int32, DType::uint8}) {
    BOOST_TEST((dtype_of(element_of(dtype)) == dtype), dtype_name(dtype));
  }
}

}  // namespace assay::golden
