// Rounded numbers are float arithmetic, and the formats are what their definitions say.
#include "reference/numbers/rounded.h"

#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>

#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

using golden::Precision;

Rounded number(double x) {
  Rounded exact;
  exact.value = x;
  return exact;
}

// Every finite number of a 16-bit format with this many fraction bits and this exponent bias.
std::vector<double> all_of_16_bits(int fraction_bits, int bias) {
  std::vector<double> list;
  const int exponents = 1 << (15 - fraction_bits);
  for (int exponent = 0; exponent < exponents - 1; ++exponent) {
    for (int fraction = 0; fraction < 1 << fraction_bits; ++fraction) {
      const double significand = std::ldexp(fraction, -fraction_bits) + (exponent == 0 ? 0.0 : 1.0);
      list.push_back(std::ldexp(significand, std::max(exponent, 1) - bias));
    }
  }
  return list;  // ascending
}

struct Sixteen {
  Precision precision;
  int fraction_bits, bias;
};
constexpr Sixteen kSixteen[] = {{Precision::bf16, 7, 127}, {Precision::fp16, 10, 15}};

}  // namespace

BOOST_AUTO_TEST_SUITE(rounded)

BOOST_AUTO_TEST_CASE(fp32_to_nearest_is_float_arithmetic_bit_for_bit) {
  const RoundingScope scope({.accumulate = Precision::fp32});
  const std::vector<double> u = uniform(181, "floats", 60000);
  for (std::size_t i = 0; i + 2 < u.size(); i += 3) {
    const auto scaled = [&](double x) {
      return static_cast<float>(std::ldexp(x, static_cast<int>(i % 40) - 20));
    };
    const float a = static_cast<float>(u[i]), b = scaled(u[i + 1]), c = scaled(u[i + 2]);
    BOOST_TEST((number(a) + number(b)).value == a + b);
    BOOST_TEST((number(a) - number(b)).value == a - b);
    BOOST_TEST((number(a) * number(b)).value == a * b);
    BOOST_TEST((number(a) / number(b)).value == a / b);
    BOOST_TEST(sqrt(number(std::fabs(b))).value == std::sqrt(std::fabs(b)));
    BOOST_TEST(Rounded(std::fma(double{a}, double{b}, double{c})).value == std::fma(a, b, c));
  }
}

BOOST_AUTO_TEST_CASE(every_number_of_16_bits_is_kept_and_ties_go_to_the_even_neighbour) {
  for (const auto& [precision, fraction_bits, bias] : kSixteen) {
    const std::vector<double> all = all_of_16_bits(fraction_bits, bias);
    for (std::size_t i = 0; i < all.size(); ++i) {
      BOOST_TEST(golden::round_to(precision, all[i]) == all[i]);
      BOOST_TEST(golden::round_to(precision, -all[i]) == -all[i]);
      if (i + 1 == all.size()) continue;
      const double middle = all[i] + (all[i + 1] - all[i]) / 2;
      BOOST_TEST(golden::round_to(precision, middle) == all[i % 2 == 0 ? i : i + 1]);
      const double above = std::nextafter(middle, INFINITY);
      BOOST_TEST(golden::round_to(precision, above) == all[i + 1]);
      BOOST_TEST(golden::spacing(precision, middle) == all[i + 1] - all[i]);
    }
    const double largest = all.back(), step = golden::spacing(precision, largest);
    BOOST_TEST(golden::round_to(precision, largest + 0.499 * step) == largest);
    BOOST_TEST(golden::round_to(precision, largest + 0.5 * step) == INFINITY);
    BOOST_TEST(golden::round_to(precision, -largest - step) == -INFINITY);
  }
}

// tf32 has the significand of fp16 and the exponents of fp32.
BOOST_AUTO_TEST_CASE(tf32_keeps_eleven_bits_at_any_exponent) {
  for (int exponent = -120; exponent < 120; exponent += 7) {
    const double one = std::ldexp(1.0, exponent);
    BOOST_TEST(golden::round_to(Precision::tf32, one * (1 + 0x1p-10)) == one * (1 + 0x1p-10));
    BOOST_TEST(golden::round_to(Precision::tf32, one * (1 + 0x1p-11)) == one);
  }
}

BOOST_AUTO_TEST_CASE(stochastic_rounding_gives_a_neighbour_and_keeps_what_is_exact) {
  for (const Precision precision :
       {Precision::fp32, Precision::tf32, Precision::bf16, Precision::fp16}) {
    const RoundingScope scope({.accumulate = precision, .stochastic = true, .seed = 3});
    for (const double u : uniform(182, "draws", 20000)) {
      const double x = u / 3, step = golden::spacing(precision, x);
      const double below = std::floor(x / step) * step, got = round_here(precision, x);
      BOOST_TEST((got == below || got == below + step), x);
      BOOST_TEST(round_here(precision, got) == got);
    }
  }
}

// The mean of n roundings of one number has a deviation of at most spacing / (2 sqrt(n)); five of
// them is one chance in a million.
BOOST_AUTO_TEST_CASE(stochastic_rounding_is_right_on_average) {
  constexpr int kDraws = 40000;
  for (const double x : {1 + 0x1p-10, -1 - 0.7 * 0x1p-8, 0.3 * 0x1p-133}) {
    const RoundingScope scope({.accumulate = Precision::bf16, .stochastic = true, .seed = 4});
    double sum = 0;
    for (int i = 0; i < kDraws; ++i) sum += round_here(Precision::bf16, x) - x;
    const double step = golden::spacing(Precision::bf16, x);
    BOOST_TEST(std::fabs(sum / kDraws) <= 5 * step / (2 * std::sqrt(double{kDraws})), x);
  }
}

BOOST_AUTO_TEST_CASE(draws_are_a_function_of_seed_node_and_row) {
  const auto draw = [](const Rounding& rule, uint64_t row) {
    const RoundingScope scope(rule, row);
    std::vector<double> drawn;
    for (int i = 0; i < 64; ++i) drawn.push_back(round_here(Precision::bf16, 1 + 0x1p-9));
    return drawn;
  };
  const Rounding rule{.accumulate = Precision::bf16, .stochastic = true, .seed = 5, .node = 6};
  Rounding other_seed = rule, other_node = rule;
  other_seed.seed = 7;
  other_node.node = 7;
  BOOST_TEST(draw(rule, 1) == draw(rule, 1));
  BOOST_TEST(draw(rule, 1) != draw(rule, 2));
  BOOST_TEST(draw(rule, 1) != draw(other_seed, 1));
  BOOST_TEST(draw(rule, 1) != draw(other_node, 1));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
