// Derivatives of every operation of dual numbers, from their closed forms.
#include "reference/numbers/dual.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

namespace assay::reference::testing {

BOOST_AUTO_TEST_SUITE(dual)

BOOST_AUTO_TEST_CASE(rules_of_differentiation) {
  const Dual x(2, 1), y(5, 3);
  BOOST_TEST((x + y).tangent == 4);
  BOOST_TEST((x - y).tangent == -2);
  BOOST_TEST((-x).tangent == -1);
  BOOST_TEST((x * y).tangent == 1 * 5 + 2 * 3);
  BOOST_TEST((y / x).value == 2.5);
  BOOST_TEST((y / x).tangent == (3 - 2.5 * 1) / 2);
  BOOST_TEST((x + 1.0).tangent == 1);
  BOOST_TEST((x * 3.0).tangent == 3);
}

BOOST_AUTO_TEST_CASE(functions_carry_their_derivative) {
  const Dual x(0.5, 2);
  BOOST_TEST(exp(x).tangent == 2 * std::exp(0.5));
  BOOST_TEST(log(x).tangent == 4);
  BOOST_TEST(sqrt(Dual(4, 2)).tangent == 0.5);
  BOOST_TEST(tanh(x).tangent == 2 * (1 - std::tanh(0.5) * std::tanh(0.5)));
  const double slope = 2 / std::sqrt(M_PI) * std::exp(-0.25);  // of erf at 0.5
  BOOST_TEST(std::fabs(erf(x).tangent - 2 * slope) <= 0x1p-50);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
