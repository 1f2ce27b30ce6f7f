// simt::mma: where each element of a fragment lies, and what the product of two is.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <vector>

#include "cuda_impl/simt/mma.h"
#include "needs_device.h"

namespace simt = assay::simt;

namespace {

struct Counts {
  int seen[16][16] = {};
};

// The PTX ISA's own formulas, spelled as there; lane 6 also by hand.
template <class Place>
void check_place(Place place, int row, int column, Counts& counts) {
  BOOST_TEST(place.row == row);
  BOOST_TEST(place.column == column);
  ++counts.seen[place.row][place.column];
}

}  // namespace

BOOST_AUTO_TEST_CASE(places_are_those_of_the_ptx_isa) {
  Counts a, b, d;
  for (int lane = 0; lane < 32; ++lane) {
    const int groupID = lane >> 2, threadID_in_group = lane % 4;
    for (int i = 0; i < 8; ++i) {
      const bool upper = (0 <= i && i < 2) || (4 <= i && i < 6);
      check_place(simt::mma_a_place(lane, i), upper ? groupID : groupID + 8,
                  threadID_in_group * 2 + (i & 1) + (i < 4 ? 0 : 8), a);
    }
    for (int i = 0; i < 4; ++i) {
      check_place(simt::mma_b_place(lane, i), threadID_in_group * 2 + (i & 1) + (i < 2 ? 0 : 8),
                  groupID, b);
      check_place(simt::mma_d_place(lane, i), i < 2 ? groupID : groupID + 8,
                  threadID_in_group * 2 + (i & 1), d);
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 16; ++column) {
      BOOST_TEST(a.seen[row][column] == 1);  // each element in one place
      BOOST_TEST(b.seen[row][column] == int{column < 8});
      BOOST_TEST(d.seen[row][column] == int{column < 8});
    }
  }
}

BOOST_AUTO_TEST_CASE(places_of_lane_6_are_those_of_the_ptx_isa_s_figures) {
  const int rows[] = {1, 1, 9, 9, 1, 1, 9, 9}, columns[] = {4, 5, 4, 5, 12, 13, 12, 13};
  for (int i = 0; i < 8; ++i) {
    BOOST_TEST(simt::mma_a_place(6, i).row == rows[i]);
    BOOST_TEST(simt::mma_a_place(6, i).column == columns[i]);
  }
  for (int i = 0; i < 4; ++i) {
    BOOST_TEST(simt::mma_b_place(6, i).row == columns[i + i / 2 * 2]);  // 4, 5, 12, 13
    BOOST_TEST(simt::mma_b_place(6, i).column == 1);
    BOOST_TEST(simt::mma_d_place(6, i).row == rows[i]);
    BOOST_TEST(simt::mma_d_place(6, i).column == columns[i]);
  }
}

// Of tf32 every element is a word: the formulas of mma.m16n8k8.
BOOST_AUTO_TEST_CASE(words_are_those_of_the_ptx_isa_for_tf32) {
  Counts a, b;
  for (int lane = 0; lane < 32; ++lane) {
    const int groupID = lane >> 2, threadID_in_group = lane % 4;
    for (int i = 0; i < 4; ++i) {
      check_place(simt::mma_a_word(lane, i), i == 0 || i == 2 ? groupID : groupID + 8,
                  i < 2 ? threadID_in_group : threadID_in_group + 4, a);
    }
    for (int i = 0; i < 2; ++i) {
      check_place(simt::mma_b_word(lane, i), i == 0 ? threadID_in_group : threadID_in_group + 4,
                  groupID, b);
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      BOOST_TEST(a.seen[row][column] == 1);  // each element in one place
      BOOST_TEST(b.seen[row][column] == int{row < 8});
    }
  }
}

namespace {

// Of the summed index.
template <class S>
constexpr int kDepth = 32 / int{sizeof(S)};

// In words, more than a row (a column of b) takes, so that a wrong stride shows.
constexpr int kStrideA = 12, kStrideB = 20;

// d [16,8] += a b;  a by rows, b by columns, d by rows.
template <class S>
__global__ void multiply(float* d, const std::uint32_t* a, const std::uint32_t* b) {
  const int lane = static_cast<int>(threadIdx.x);
  simt::MmaD sum;
  for (int i = 0; i < 4; ++i) {
    const simt::MmaPlace at = simt::mma_d_place(lane, i);
    sum.value[i] = d[at.row * 8 + at.column];
  }
  simt::mma(sum, simt::load_mma_a<S>(a, kStrideA, lane), simt::load_mma_b<S>(b, kStrideB, lane));
  for (int i = 0; i < 4; ++i) {
    const simt::MmaPlace at = simt::mma_d_place(lane, i);
    d[at.row * 8 + at.column] = sum.value[i];
  }
}

struct Problem {
  float a[16][16] = {}, b[16][8] = {}, d[16][8] = {};
};

template <class S>
std::vector<float> product(const Problem& p, unsigned threads = 32) {
  std::vector<std::uint32_t> a(16 * kStrideA, 0x7fff7fffu), b(8 * kStrideB, 0x7fff7fffu);  // NaN
  const auto word = [](const auto& element, int w) {
    if constexpr (std::is_same_v<S, simt::tf32>) {
      return S(element(w)).bits;
    } else {
      return simt::mma_pair(S(element(2 * w)), S(element(2 * w + 1)));
    }
  };
  for (int w = 0; w < 8; ++w) {
    for (int i = 0; i < 16; ++i) {
      a[i * kStrideA + w] = word([&](int k) { return p.a[i][k]; }, w);
    }
    for (int j = 0; j < 8; ++j) {
      b[j * kStrideB + w] = word([&](int k) { return p.b[k][j]; }, w);
    }
  }
  const simt::Buffer<std::uint32_t> g_a(a), g_b(b);
  const simt::Buffer<float> g_d(std::vector<float>(&p.d[0][0], &p.d[0][0] + 16 * 8));
  simt::launch("multiply", multiply<S>, dim3(1), dim3(threads), 0, nullptr, g_d.get(), g_a.get(),
               g_b.get());
  std::vector<float> d;
  g_d.to(d);
  return d;
}

// Fractions of both signs that all types hold exactly, and whose sums round.
Problem fractions() {
  Problem p;
  unsigned state = 12345;
  const auto next = [&] {
    state = state * 1664525u + 1013904223u;
    return static_cast<float>(static_cast<int>(state >> 24) - 128) *
           (state >> 16 & 1u ? 0x1p-3f : 0x1p-12f);
  };
  for (auto& row : p.a) std::generate(row, row + 16, next);
  for (auto& row : p.b) std::generate(row, row + 8, next);
  for (auto& row : p.d) std::generate(row, row + 8, next);
  return p;
}

template <class S>
void check_fractions() {
  const Problem p = fractions();
  const std::vector<float> got = product<S>(p);
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      float chain = p.d[i][j];  // the host's order
      double sum = p.d[i][j], magnitude = std::fabs(sum);
      for (int k = 0; k < kDepth<S>; ++k) {
        chain += p.a[i][k] * p.b[k][j];
        const double term = double{p.a[i][k]} * double{p.b[k][j]};
        sum += term;
        magnitude += std::fabs(term);
      }
      // At most 16 additions, each of which may truncate.
      BOOST_TEST(std::fabs(double{got[i * 8 + j]} - sum) <= 16 * 0x1p-23 * magnitude);
      if (SIMT_ON_HOST) BOOST_TEST(got[i * 8 + j] == chain);
    }
  }
}

// 256 different integers in a: with the columns of the identity in b, and the other way round, each
// appears where it belongs.
template <class S>
void check_identities() {
  for (int first = 0; first < kDepth<S>; first += 8) {
    Problem p;
    for (int i = 0; i < 16; ++i) {
      for (int k = 0; k < 16; ++k) p.a[i][k] = static_cast<float>(16 * i + k);
    }
    for (int j = 0; j < 8; ++j) p.b[first + j][j] = 1;
    const std::vector<float> got = product<S>(p);
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 8; ++j) BOOST_TEST(got[i * 8 + j] == p.a[i][first + j]);
    }
  }
  Problem p;
  for (int k = 0; k < kDepth<S>; ++k) {
    p.a[k][k] = 1;
    for (int j = 0; j < 8; ++j) {
      p.b[k][j] = static_cast<float>(8 * k + j + 1);
      p.d[k][j] = static_cast<float>(1000 * k + 100000 * j);
    }
  }
  const std::vector<float> got = product<S>(p);
  for (int k = 0; k < kDepth<S>; ++k) {
    for (int j = 0; j < 8; ++j) BOOST_TEST(got[k * 8 + j] == p.b[k][j] + p.d[k][j]);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(product_of_fractions_is_that_of_plain_loops) {
  check_fractions<simt::bf16>();
  check_fractions<simt::f16>();
  check_fractions<simt::tf32>();
}

BOOST_AUTO_TEST_CASE(identity_matrices_show_each_element_in_its_place) {
  check_identities<simt::bf16>();
  check_identities<simt::f16>();
  check_identities<simt::tf32>();
}

// Element (row, column) of the two results is 16 row + column, so that each word shows its places.
BOOST_AUTO_TEST_CASE(two_results_side_by_side_are_an_operand) {
  for (int lane = 0; lane < 32; ++lane) {
    simt::MmaD left, right;
    for (int i = 0; i < 4; ++i) {
      const simt::MmaPlace at = simt::mma_d_place(lane, i);
      left.value[i] = static_cast<float>(16 * at.row + at.column);
      right.value[i] = static_cast<float>(16 * at.row + at.column + 8);
    }
    const simt::MmaA<simt::bf16> a = simt::mma_a_of<simt::bf16>(left, right);
    for (int i = 0; i < 8; i += 2) {
      const simt::MmaPlace at = simt::mma_a_place(lane, i);
      const auto first = static_cast<float>(16 * at.row + at.column);
      BOOST_TEST(a.word[i / 2] == simt::mma_pair(simt::bf16(first), simt::bf16(first + 1)));
    }
  }
}

#if SIMT_ON_HOST

// 1 + 2^-24 is 1 in float: ascending, fifteen such terms vanish one by one; summed first they would
// not.
BOOST_AUTO_TEST_CASE(the_host_adds_in_float_with_k_ascending) {
  Problem p;
  for (int k = 0; k < 16; ++k) p.a[0][k] = p.b[k][0] = k == 0 ? 1.0f : 0x1p-12f;
  BOOST_TEST(product<simt::bf16>(p)[0] == 1.0f);
  BOOST_TEST(product<simt::f16>(p)[0] == 1.0f);
  p.a[0][0] = p.b[0][0] = 0x1p-12f;
  p.a[0][15] = p.b[15][0] = 1.0f;
  BOOST_TEST(product<simt::bf16>(p)[0] == 1.0f + 0x1p-20f);  // 15 * 2^-24, to nearest
  Problem q;
  for (int k = 0; k < 8; ++k) q.a[0][k] = q.b[k][0] = k == 0 ? 1.0f : 0x1p-12f;
  BOOST_TEST(product<simt::tf32>(q)[0] == 1.0f);
  std::swap(q.a[0][0], q.a[0][7]);
  std::swap(q.b[0][0], q.b[7][0]);
  BOOST_TEST(product<simt::tf32>(q)[0] == 1.0f + 0x1p-21f);  // 7 * 2^-24: a tie, to even
}

BOOST_AUTO_TEST_CASE(the_product_is_the_same_whichever_lane_comes_first) {
  using simt::host::Order;
  struct Restore {
    ~Restore() { simt::host::config() = {}; }
  } restore;
  const std::vector<float> bf16 = product<simt::bf16>(fractions());
  const std::vector<float> f16 = product<simt::f16>(fractions());
  const std::vector<float> tf32 = product<simt::tf32>(fractions());
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const Order order = seed == 0 ? Order::reverse : Order::random;
    simt::host::config() = {.order = order, .seed = seed, .workers = 1};
    BOOST_TEST(product<simt::bf16>(fractions()) == bf16, boost::test_tools::per_element());
    BOOST_TEST(product<simt::f16>(fractions()) == f16, boost::test_tools::per_element());
    BOOST_TEST(product<simt::tf32>(fractions()) == tf32, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_warp_that_is_not_full_is_refused) {
  BOOST_CHECK_EXCEPTION(product<simt::bf16>({}, 16), simt::Error, [](const simt::Error& error) {
    return std::string(error.what()).find("wrong warp mask") != std::string::npos;
  });
}

#endif
