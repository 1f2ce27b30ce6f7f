// The `blas` engine against `ordered`, within the bound both obey; and what holds for either.
#include <oneapi/tbb/global_control.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>

#include "tests/reference/products/matrices.h"

namespace assay::reference::products_test {
namespace {

using oneapi::tbb::global_control;

constexpr uint64_t kSeed = 20262;
using Engines = std::tuple<std::integral_constant<Engine, Engine::ordered>,
                           std::integral_constant<Engine, Engine::blas>>;

std::vector<double> magnitudes(const Stored& m) {
  std::vector<double> out = m.memory;
  for (double& x : out) x = std::fabs(x);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(blas)

// A sum of K products in any order is within K u sum|ab| of the exact one to first order
// (u = 2^-53; Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), so the
// two engines differ by at most 2 K u sum|ab|, 1 + 2^-40 covering the higher orders.
BOOST_AUTO_TEST_CASE(agrees_with_ordered_within_the_bound) {
  std::mt19937_64 random(kSeed);
  struct Case {
    int64_t M, N, K;
    Layout a, b;
  };
  for (const auto& [M, N, K, a_layout, b_layout] : {
           Case{1, 700, 64, Layout::rows, Layout::columns},
           Case{257, 513, 100, Layout::padded_rows, Layout::padded_columns},
           Case{256, 30, 100, Layout::columns, Layout::rows},
           Case{40, 30, 300, Layout::padded_columns, Layout::padded_rows},
           Case{300, 40, 33, Layout::spread, Layout::spread},
       }) {
    const Stored a = random_matrix(M, K, a_layout, random);
    const Stored b = random_matrix(K, N, b_layout, random);
    const std::vector<double> a_abs = magnitudes(a), b_abs = magnitudes(b);
    ConstMatrix a_abs_view = a.view, b_abs_view = b.view;
    a_abs_view.data = a_abs.data();
    b_abs_view.data = b_abs.data();

    const std::vector<double> ordered = product(a.view, b.view, Engine::ordered);
    const std::vector<double> blas = product(a.view, b.view, Engine::blas);
    const std::vector<double> scale = product(a_abs_view, b_abs_view, Engine::ordered);
    size_t outside = 0;
    double largest = 0.0;  // error / bound
    for (size_t i = 0; i < blas.size(); ++i) {
      const double bound = 2.0 * double(K) * 0x1p-53 * scale[i] * (1.0 + 0x1p-40);
      const double error = std::fabs(blas[i] - ordered[i]);
      if (!(error <= bound)) ++outside;
      largest = std::max(largest, error / bound);
    }
    BOOST_TEST_MESSAGE("M " << M << " N " << N << " K " << K << ": largest error / bound "
                            << largest);
    BOOST_TEST(outside == 0u);
    BOOST_TEST(blas.size() == size_t(M * N));
  }
}

// Row m has the same bits for every number of rows above m, in one tile or in several.
BOOST_AUTO_TEST_CASE(rows_do_not_depend_on_the_number_of_rows) {
  std::mt19937_64 random(kSeed + 1);
  const int64_t M = 600, N = 70, K = 50;
  for (const Layout layout : {Layout::rows, Layout::columns, Layout::spread}) {
    const Stored a = random_matrix(M, K, layout, random);
    const Stored w = random_matrix(N, K, Layout::rows, random);
    const std::vector<double> whole = product(a.view, w.view.transposed(), Engine::blas);
    for (const int64_t rows : {1, 2, 3, 17, 64, 255, 256, 257, 511, 513, 599}) {
      const std::vector<double> prefix =
          product(a.view.block(0, 0, rows, K), w.view.transposed(), Engine::blas);
      BOOST_TEST_CONTEXT("rows " << rows << " layout " << int(layout))
      BOOST_TEST(same_bits(prefix.data(), whole.data(), prefix.size()));
    }
  }
}

BOOST_AUTO_TEST_CASE(one_and_two_threads_give_the_same_bits) {
  std::mt19937_64 random(kSeed + 2);
  const Stored a = random_matrix(600, 90, Layout::rows, random);
  const Stored w = random_matrix(1100, 90, Layout::rows, random);
  std::vector<double> results[2];
  for (const size_t threads : {1, 2}) {
    const global_control limit(global_control::max_allowed_parallelism, threads);
    results[threads - 1] = product(a.view, w.view.transposed(), Engine::blas);
  }
  BOOST_TEST(same_bits(results[0], results[1]));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(both_engines)

// [1 2; 3 4] [5 6; 7 8] = [19 22; 43 50], with B as it is, transposed, and added to C.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_product_worked_by_hand, Tested, Engines) {
  constexpr Engine engine = Tested::value;
  const std::vector<double> a{1, 2, 3, 4}, b{5, 6, 7, 8}, b_transposed{5, 7, 6, 8};
  const ConstMatrix a_view = ConstMatrix::row_major(a.data(), 2, 2);
  const ConstMatrix b_view = ConstMatrix::row_major(b.data(), 2, 2);
  const std::vector<double> plain{19, 22, 43, 50}, added{20, 22, 43, 51};
  BOOST_TEST(product(a_view, b_view, engine) == plain, boost::test_tools::per_element());
  BOOST_TEST(product(a_view, ConstMatrix::row_major(b_transposed.data(), 2, 2).transposed(),
                     engine) == plain,
             boost::test_tools::per_element());
  std::vector<double> c{1, 0, 0, 1};
  multiply(Matrix::row_major(c.data(), 2, 2), a_view, b_view, true, engine);
  BOOST_TEST(c == added, boost::test_tools::per_element());
}

// Accumulating into C of 300 rows (a full tile and a ragged one) leaves the padding of C alone.
BOOST_AUTO_TEST_CASE_TEMPLATE(accumulating_adds_to_the_rows_of_c_only, Tested, Engines) {
  constexpr Engine engine = Tested::value;
  const int64_t M = 300, N = 3, c_stride = 5;
  const std::vector<double> a(size_t(M), 2.0), b{1, 2, 3};
  std::vector<double> c(size_t(M * c_stride), 10.0), expected = c;
  for (int64_t m = 0; m < M; ++m) {
    for (int64_t n = 0; n < N; ++n) expected[size_t(m * c_stride + n)] += 2.0 * double(n + 1);
  }
  multiply({c.data(), M, N, c_stride}, {a.data(), M, 1, 1, 1}, {b.data(), 1, N, N, 1}, true,
           engine);
  BOOST_TEST(c == expected, boost::test_tools::per_element());
}

// A C that is overwritten is not read: its NaN does not survive.
BOOST_AUTO_TEST_CASE_TEMPLATE(old_values_do_not_leak_into_a_new_product, Tested, Engines) {
  constexpr Engine engine = Tested::value;
  const std::vector<double> a{1, 2, 3}, b{1, 1, 1};
  const std::vector<double> c = product({a.data(), 1, 3, 3, 1}, {b.data(), 3, 1, 1, 1}, engine);
  BOOST_TEST(c[0] == 6.0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(an_empty_sum_is_zero_or_the_old_c, Tested, Engines) {
  constexpr Engine engine = Tested::value;
  std::vector<double> c{1, 2, 3, 4, 5, 6};
  const std::vector<double> old = c, zeroed{0, 0, 3, 0, 0, 6};
  const Matrix out{c.data(), 2, 2, 3};
  multiply(out, {nullptr, 2, 0, 0, 1}, {nullptr, 0, 2, 2, 1}, true, engine);
  BOOST_TEST(c == old, boost::test_tools::per_element());
  multiply(out, {nullptr, 2, 0, 0, 1}, {nullptr, 0, 2, 2, 1}, false, engine);
  BOOST_TEST(c == zeroed, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(no_rows_or_no_columns_is_nothing_to_do, Tested, Engines) {
  constexpr Engine engine = Tested::value;
  const std::vector<double> a{1, 2, 3}, b{1, 2, 3};
  BOOST_CHECK_NO_THROW(
      multiply({nullptr, 0, 1, 1}, {nullptr, 0, 3, 3, 1}, {b.data(), 3, 1, 1, 1}, false, engine));
  BOOST_CHECK_NO_THROW(
      multiply({nullptr, 1, 0, 0}, {a.data(), 1, 3, 3, 1}, {nullptr, 3, 0, 0, 1}, false, engine));
  BOOST_CHECK_NO_THROW(multiply_batch({}, false, engine));
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_named) {
  const std::vector<double> x(12, 1.0);
  std::vector<double> c(12);
  const auto message = [](const char* text) {
    return [text](const std::invalid_argument& error) { return error.what() == std::string(text); };
  };
  BOOST_CHECK_EXCEPTION(
      multiply(Matrix::row_major(c.data(), 2, 3), ConstMatrix::row_major(x.data(), 2, 4),
               ConstMatrix::row_major(x.data(), 3, 3), false, Engine::ordered),
      std::invalid_argument,
      message(
          "multiply: shapes do not fit: expected [M,N] = [M,K] [K,N], got [2,3] = [2,4] [3,3]"));
  BOOST_CHECK_EXCEPTION(
      multiply({c.data(), 2, 3, 2}, ConstMatrix::row_major(x.data(), 2, 4),
               ConstMatrix::row_major(x.data(), 4, 3), false, Engine::ordered),
      std::invalid_argument,
      message("multiply: rows of C overlap: expected a row stride of at least 3, got 2"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::products_test
