// Double-double arithmetic against quadruple precision, which holds nine bits more.
#include "reference/numbers/double_double.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr int kPairs = 20000;

// hi of any size from 2^-60 to 2^60, lo up to half an ulp of it.
DoubleDouble draw(double u, double scale, double low) {
  const double hi = std::ldexp(u / 3, static_cast<int>(60 * scale));
  return fast_two_sum(hi, hi * 0x1p-53 * low / 3);
}

struct Pair {
  DoubleDouble a, b;
};

std::vector<Pair> pairs() {
  const std::vector<double> u = uniform(171, "pairs", int64_t{6} * kPairs);
  std::vector<Pair> list;
  for (std::size_t i = 0; i < kPairs; ++i) {
    const double* x = u.data() + 6 * i;
    Pair pair{draw(x[0], x[1], x[2]), draw(x[3], x[4], x[5])};
    if (i % 4 == 0) pair.b = {-pair.a.hi * (1 + 0x1p-30 * x[3]), pair.a.lo};  // cancellation
    if (i % 4 == 0) pair.b = fast_two_sum(pair.b.hi, pair.b.lo);
    list.push_back(pair);
  }
  return list;
}

// |got - exact| / scale. Quad's own rounding is 2^-113 of the result.
double error(DoubleDouble got, Quad exact, Quad scale) {
  return static_cast<double>(fabsq(to_quad(got) - exact) / scale);
}

template <class F>
void check(double lowest, double highest, double bound, F&& difference) {
  for (const double u : uniform(172, "arguments", 4000)) {
    const double x = lowest + (highest - lowest) * (u + 1) / 2;
    const DoubleDouble a = fast_two_sum(x, x * 0x1p-54);
    BOOST_TEST(difference(a) <= bound, x);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(double_double)

// Joldes et al. bound the sum by 3 u^2 + 13 u^3 and the product by 5 u^2, u = 2^-53, of the result;
// 2^-102 is 16 u^2.
BOOST_AUTO_TEST_CASE(arithmetic_errs_by_at_most_2_to_the_minus_102) {
  for (const auto& [a, b] : pairs()) {
    const Quad x = to_quad(a), y = to_quad(b);
    // Of operands that cancel, Quad drops bits only below 2^-113 of the larger one.
    BOOST_TEST(error(a + b, x + y, fabsq(x + y) + (fabsq(x) + fabsq(y)) * 0x1p-10) <= 0x1p-102);
    BOOST_TEST(error(a - b, x - y, fabsq(x - y) + (fabsq(x) + fabsq(y)) * 0x1p-10) <= 0x1p-102);
    BOOST_TEST(error(a * b, x * y, fabsq(x * y)) <= 0x1p-102);
    BOOST_TEST(error(a / b, x / y, fabsq(x / y)) <= 0x1p-100);
  }
}

BOOST_AUTO_TEST_CASE(results_are_normalised) {
  for (const auto& [a, b] : pairs()) {
    for (const DoubleDouble r : {a + b, a * b, a / b}) BOOST_TEST(r.hi + r.lo == r.hi);
  }
}

BOOST_AUTO_TEST_CASE(two_sum_is_exact_where_doubles_are_not) {
  const DoubleDouble sum = two_sum(1.0, 0x1p-80);
  BOOST_TEST(sum.hi == 1.0);
  BOOST_TEST(sum.lo == 0x1p-80);
  const DoubleDouble third = DoubleDouble(1.0) / DoubleDouble(3.0);
  BOOST_TEST(to_double(third * DoubleDouble(3.0) - DoubleDouble(1.0)) == 0.0, third.lo);
}

// log is measured absolutely: near 1 its value vanishes.
BOOST_AUTO_TEST_CASE(functions_have_a_hundred_bits) {
  check(-40, 40, 0x1p-100,
        [](DoubleDouble a) { return error(exp(a), expq(to_quad(a)), expq(to_quad(a))); });
  check(0.1, 50, 0x1p-100, [](DoubleDouble a) { return error(log(a), logq(to_quad(a)), 4); });
  check(0.1, 50, 0x1p-100, [](DoubleDouble a) {
    return static_cast<double>(fabsq(to_quad(sqrt(a)) * to_quad(sqrt(a)) / to_quad(a) - 1));
  });
  check(-5, 5, 0x1p-100, [](DoubleDouble a) { return error(tanh(a), tanhq(to_quad(a)), 1); });
  check(-5, 5, 0x1p-100, [](DoubleDouble a) { return error(erf(a), erfq(to_quad(a)), 1); });
}

BOOST_AUTO_TEST_CASE(infinities_stay_infinities) {
  const DoubleDouble minus(-INFINITY), one(1.0);
  for (const DoubleDouble x :
       {minus + one, minus * DoubleDouble(0.125), minus - one, minus / one}) {
    BOOST_TEST(x.hi == -INFINITY);
    BOOST_TEST(x.lo == 0.0);
  }
  BOOST_TEST(exp(minus).hi == 0.0);
  BOOST_TEST(std::isnan(to_double(minus - minus)));
  BOOST_TEST(std::isnan(to_double(DoubleDouble(std::nan("")) + one)));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
