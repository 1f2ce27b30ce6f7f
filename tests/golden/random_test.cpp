// What golden files are drawn from: published answers of Philox and FNV, and rounding to storage
// types against plain arithmetic.
#include "golden/contract/random.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <random>

#include "golden/contract/precision.h"

namespace assay::golden {
namespace {

using Words = std::array<uint32_t, 4>;

// Nearest multiple of the spacing that 8 significant bits, or the subnormal range, give at x.
double nearest_bf16(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);  // |x| = m 2^exponent, m in [1/2, 1)
  const double spacing = std::ldexp(1.0, std::max(exponent - 8, -133));
  return std::nearbyint(x / spacing) * spacing;
}

}  // namespace

// Random123 1.14, tests/kat_vectors, philox4x32 with 10 rounds.
BOOST_AUTO_TEST_CASE(philox_gives_the_published_answers) {
  const auto check = [](Words counter, std::array<uint32_t, 2> key, Words expected) {
    BOOST_TEST(philox4x32(counter, key) == expected, boost::test_tools::per_element());
  };
  check({0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const uint32_t ones = 0xffffffff;
  check({ones, ones, ones, ones}, {ones, ones}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
        {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

// Fowler, Noll, Vo: draft-eastlake-fnv, test vectors of 64-bit FNV-1a.
BOOST_AUTO_TEST_CASE(stream_names_hash_as_fnv_1a) {
  BOOST_TEST(stream_id("") == 0xcbf29ce484222325);
  BOOST_TEST(stream_id("a") == 0xaf63dc4c8601ec8c);
  BOOST_TEST(stream_id("foobar") == 0x85944171f73967e8);
}

BOOST_AUTO_TEST_CASE(words_are_laid_out_as_documented) {
  const uint64_t seed = 0x0123456789abcdef, stream = stream_id("a stream");
  std::vector<uint32_t> words(4 * 37 + 3);  // blocks 2 to 38 and three quarters of 39
  random_words(seed, stream, 8, words);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto block = static_cast<uint32_t>((8 + i) / 4);
    const Words expected =
        philox4x32({block, 0, static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                   {0x89abcdef, 0x01234567});
    BOOST_TEST(words[i] == expected[i % 4]);
  }
}

BOOST_AUTO_TEST_CASE(rounding_to_bf16_is_to_nearest_even) {
  BOOST_TEST(round_to_bf16(1 + 0x1p-8) == 1.0);                   // a tie, down to even
  BOOST_TEST(round_to_bf16(1 + 3 * 0x1p-8) == 1 + 0x1p-6);        // a tie, up to even
  BOOST_TEST(round_to_bf16(1 + 0x1p-8 + 0x1p-40) == 1 + 0x1p-7);  // float would make it a tie
  BOOST_TEST(round_to_bf16(-(2 - 0x1p-9)) == -2.0);               // into the next binade
  std::mt19937_64 bits(7);
  for (int i = 0; i < 10000; ++i) {
    const double unit = static_cast<double>(bits() >> 11) * 0x1p-53 - 0.5;
    const double x = std::ldexp(unit, static_cast<int>(bits() % 60) - 30);
    BOOST_TEST(round_to_bf16(x) == nearest_bf16(x), x);
  }
}

BOOST_AUTO_TEST_CASE(rounding_to_a_precision) {
  const double x = 1 + 0x1p-24 + 0x1p-50;
  BOOST_TEST(round_to(Precision::fp64, x) == x);
  BOOST_TEST(round_to(Precision::fp32, x) == 1 + 0x1p-23);
  BOOST_TEST(round_to(Precision::bf16, x) == 1.0);
  BOOST_TEST(round_to(Precision::bf16, 3 * 0x1p-134) == 0x1p-132);  // subnormal tie, to even
  BOOST_TEST(round_to(Precision::bf16, -0x1p-134) == 0.0);
  BOOST_TEST(std::isinf(round_to(Precision::bf16, 1e39)));
  BOOST_TEST(std::isinf(round_to(Precision::fp32, 1e39)));
  BOOST_TEST(std::isnan(round_to(Precision::bf16, std::nan(""))));
  for (const Precision precision : {Precision::fp64, Precision::fp32, Precision::bf16}) {
    const double u = unit_roundoff(precision);
    BOOST_TEST(round_to(precision, 1 + u) == 1.0);            // half an ulp is a tie
    BOOST_TEST(round_to(precision, 1 + 2 * u) == 1 + 2 * u);  // a whole one is kept
    BOOST_TEST((parse_precision(precision_name(precision)) == precision));
  }
}

}  // namespace assay::golden
