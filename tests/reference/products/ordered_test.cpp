// The `ordered` engine against its definition, bit for bit, with every instruction set there is.
#include <oneapi/tbb/global_control.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <tuple>
#include <type_traits>

#include "reference/products/simd.h"
#include "tests/reference/products/matrices.h"

namespace assay::reference::products_test {
namespace {

using oneapi::tbb::global_control;

constexpr uint64_t kSeed = 20261;
const Simd kSimds[] = {Simd::scalar, Simd::avx2, Simd::avx512};
using Simds =
    std::tuple<std::integral_constant<Simd, Simd::scalar>, std::integral_constant<Simd, Simd::avx2>,
               std::integral_constant<Simd, Simd::avx512>>;

// Selects an instruction set for one test, and the default again after it.
class Selected {
 public:
  explicit Selected(Simd simd) : before_(active_simd()) { select_simd(simd); }
  ~Selected() { select_simd(before_); }

 private:
  Simd before_;
};

bool available(Simd simd) {
  if (simd_available(simd)) return true;
  BOOST_TEST_MESSAGE("not tested: this CPU lacks instruction set " << int(simd));
  return false;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(ordered)

// Ragged shapes around the sizes of kernels and panels, all pairs of layouts, both kinds of start.
BOOST_AUTO_TEST_CASE_TEMPLATE(equals_the_chain_for_random_shapes_and_strides, Tested, Simds) {
  constexpr Simd simd = Tested::value;
  if (!available(simd)) return;
  const Selected selected(simd);
  std::mt19937_64 random(kSeed);
  BOOST_TEST_MESSAGE("seed " << kSeed);
  std::uniform_int_distribution<int64_t> size(1, 60);
  for (int round = 0; round < 8; ++round) {
    for (const Layout a_layout : kLayouts) {
      for (const Layout b_layout : kLayouts) {
        const int64_t M = size(random), N = size(random), K = size(random);
        const bool accumulate = random() % 2 == 0;
        const Stored a = random_matrix(M, K, a_layout, random);
        const Stored b = random_matrix(K, N, b_layout, random);
        const int64_t c_stride = N + int64_t(random() % 4);
        Stored c = random_matrix(M, c_stride, Layout::rows, random);
        const std::vector<double> old = c.memory;

        std::vector<double> start(size_t(M * N), 0.0);
        for (int64_t m = 0; accumulate && m < M; ++m) {
          std::copy_n(&c.at(m, 0), N, &start[size_t(m * N)]);
        }
        const std::vector<double> expected = chain(a.view, b.view, start);
        multiply({c.memory.data(), M, N, c_stride}, a.view, b.view, accumulate, Engine::ordered);
        BOOST_TEST_CONTEXT("M " << M << " N " << N << " K " << K << " layouts " << int(a_layout)
                                << " " << int(b_layout) << " accumulate " << accumulate) {
          for (int64_t m = 0; m < M; ++m) {
            BOOST_TEST(same_bits(&c.at(m, 0), &expected[size_t(m * N)], size_t(N)));
            // What lies between the rows of C is not touched.
            BOOST_TEST(
                same_bits(&c.at(m, 0) + N, &old[size_t(m * c_stride + N)], size_t(c_stride - N)));
          }
        }
      }
    }
  }
}

// Sizes beyond every block: k blocks, column tiles, row tiles, and slabs of a transposed A.
BOOST_AUTO_TEST_CASE_TEMPLATE(equals_the_chain_beyond_every_block, Tested, Simds) {
  constexpr Simd simd = Tested::value;
  if (!available(simd)) return;
  const Selected selected(simd);
  std::mt19937_64 random(kSeed + 1);
  struct Case {
    int64_t M, N, K;
    Layout a, b;
  };
  for (const auto& [M, N, K, a_layout, b_layout] : {
           Case{5, 413, 1100, Layout::rows, Layout::columns},
           Case{301, 205, 77, Layout::padded_rows, Layout::padded_columns},
           Case{1100, 27, 70, Layout::columns, Layout::rows},
           Case{17, 30, 2100, Layout::padded_columns, Layout::rows},
           Case{17, 30, 1030, Layout::spread, Layout::spread},
           Case{1, 1000, 130, Layout::rows, Layout::columns},
           Case{300, 1, 300, Layout::rows, Layout::columns},
       }) {
    const Stored a = random_matrix(M, K, a_layout, random);
    const Stored b = random_matrix(K, N, b_layout, random);
    const std::vector<double> zero(size_t(M * N), 0.0);
    BOOST_TEST_CONTEXT("M " << M << " N " << N << " K " << K) {
      BOOST_TEST(same_bits(product(a.view, b.view, Engine::ordered), chain(a.view, b.view, zero)));
    }
  }
}

// The inputs can tell: the chain with k descending differs.
BOOST_AUTO_TEST_CASE(another_order_gives_other_bits) {
  std::mt19937_64 random(kSeed + 2);
  const Stored a = random_matrix(9, 50, Layout::rows, random);
  const Stored b = random_matrix(50, 9, Layout::rows, random);
  const ConstMatrix a_back{a.view.at(0, 49), 9, 50, a.view.row_stride, -1};
  const ConstMatrix b_back{b.view.at(49, 0), 50, 9, -b.view.row_stride, 1};
  const std::vector<double> forward = product(a.view, b.view, Engine::ordered);
  const std::vector<double> backward = product(a_back, b_back, Engine::ordered);
  int different = 0;
  for (size_t i = 0; i < forward.size(); ++i) different += forward[i] != backward[i];
  BOOST_TEST(different > 40);  // of 81
}

// Any block of the product, computed alone, has the bits it has in the whole.
BOOST_AUTO_TEST_CASE_TEMPLATE(a_block_alone_has_the_bits_of_the_whole, Tested, Simds) {
  constexpr Simd simd = Tested::value;
  if (!available(simd)) return;
  const Selected selected(simd);
  std::mt19937_64 random(kSeed + 3);
  const int64_t M = 150, N = 230, K = 90;
  const Stored a = random_matrix(M, K, Layout::rows, random);
  const Stored w = random_matrix(N, K, Layout::padded_rows, random);
  const ConstMatrix b = w.view.transposed();
  const std::vector<double> whole = product(a.view, b, Engine::ordered);
  for (int round = 0; round < 40; ++round) {
    const int64_t m0 = int64_t(random() % M), n0 = int64_t(random() % N);
    const int64_t rows = 1 + int64_t(random() % uint64_t(M - m0));
    const int64_t cols = 1 + int64_t(random() % uint64_t(N - n0));
    const std::vector<double> part =
        product(a.view.block(m0, 0, rows, K), b.block(0, n0, K, cols), Engine::ordered);
    for (int64_t m = 0; m < rows; ++m) {
      BOOST_TEST(
          same_bits(&part[size_t(m * cols)], &whole[size_t((m0 + m) * N + n0)], size_t(cols)));
    }
  }
}

BOOST_AUTO_TEST_CASE(one_and_two_threads_and_every_instruction_set_give_the_same_bits) {
  std::mt19937_64 random(kSeed + 4);
  const Stored a = random_matrix(517, 300, Layout::rows, random);
  const Stored w = random_matrix(700, 300, Layout::rows, random);
  std::vector<std::vector<double>> results;
  for (const Simd simd : kSimds) {
    if (!available(simd)) continue;
    const Selected selected(simd);
    for (const size_t threads : {1, 2}) {
      const global_control limit(global_control::max_allowed_parallelism, threads);
      results.push_back(product(a.view, w.view.transposed(), Engine::ordered));
    }
  }
  BOOST_TEST(results.size() >= 2u);
  for (const std::vector<double>& result : results) BOOST_TEST(same_bits(result, results[0]));
}

// Many products at once, from several tasks, with the scratch of one held while others run.
BOOST_AUTO_TEST_CASE(concurrent_nested_calls_give_the_bits_of_serial_ones) {
  std::mt19937_64 random(kSeed + 5);
  constexpr int kHeads = 24;
  const int64_t T = 130, Dh = 64;
  // The heads lie side by side in rows, as attention has them: [T,H*Dh].
  const Stored q = random_matrix(T, kHeads * Dh, Layout::rows, random);
  const Stored k = random_matrix(T, kHeads * Dh, Layout::rows, random);
  const auto head = [&](const Stored& m, int h) { return m.view.block(0, h * Dh, T, Dh); };
  std::vector<double> scores(size_t(kHeads * T * T), std::nan(""));     // [H,T,T]
  std::vector<double> squares(size_t(kHeads * Dh * Dh), std::nan(""));  // [H,Dh,Dh], A transposed
  std::vector<Product> products;
  for (int h = 0; h < kHeads; ++h) {
    products.push_back(
        {Matrix::row_major(&scores[size_t(h * T * T)], T, T), head(q, h), head(k, h).transposed()});
    products.push_back({Matrix::row_major(&squares[size_t(h * Dh * Dh)], Dh, Dh),
                        head(q, h).transposed(), head(k, h)});
  }
  multiply_batch(products, false, Engine::ordered);
  for (const Product& p : products) {
    const std::vector<double> alone = product(p.a, p.b, Engine::ordered);
    BOOST_TEST(same_bits(alone.data(), p.c.data, alone.size()));
  }
}

BOOST_AUTO_TEST_CASE(accumulating_in_two_halves_of_k_is_the_whole_product) {
  std::mt19937_64 random(kSeed + 6);
  const Stored a = random_matrix(33, 80, Layout::columns, random);
  const Stored b = random_matrix(80, 45, Layout::rows, random);
  std::vector<double> c(33 * 45);
  const Matrix out = Matrix::row_major(c.data(), 33, 45);
  multiply(out, a.view.block(0, 0, 33, 37), b.view.block(0, 0, 37, 45), false, Engine::ordered);
  multiply(out, a.view.block(0, 37, 33, 43), b.view.block(37, 0, 43, 45), true, Engine::ordered);
  BOOST_TEST(same_bits(c, product(a.view, b.view, Engine::ordered)));
}

// The chain starts at +0, so a sum of -0 products is +0; infinity and NaN stay in their element.
BOOST_AUTO_TEST_CASE_TEMPLATE(special_values_follow_the_chain, Tested, Simds) {
  constexpr Simd simd = Tested::value;
  if (!available(simd)) return;
  const Selected selected(simd);
  const double inf = INFINITY;
  const std::vector<double> a{-0.0, 1.0, inf};             // [3,1]
  const std::vector<double> b{1.0, 0.0, -inf, 0x1p-1074};  // [1,4]
  const std::vector<double> c =
      product({a.data(), 3, 1, 1, 1}, {b.data(), 1, 4, 4, 1}, Engine::ordered);
  BOOST_TEST(!std::signbit(c[0]));
  BOOST_TEST(!std::signbit(c[1]));
  BOOST_TEST(std::isnan(c[2]));
  BOOST_TEST(c[4] == 1.0);
  BOOST_TEST(c[6] == -inf);
  BOOST_TEST(c[7] == 0x1p-1074);
  BOOST_TEST(c[8] == inf);
  BOOST_TEST(std::isnan(c[9]));
  BOOST_TEST(c[11] == inf);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::products_test
