#include "golden/file/manifest.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "golden/file/hasher.h"
#include "tests/golden/sample.h"

namespace assay::golden {
namespace {

using sample::complaint;
using sample::contains;
constexpr double kInf = std::numeric_limits<double>::infinity();

// {3, -4, 0, -0}: squares 9 + 16 over 4 elements.
BOOST_AUTO_TEST_CASE(statistics_of_a_hand_worked_tensor) {
  const std::vector<double> x{3.0, -4.0, 0.0, -0.0};
  const Statistics s = statistics(std::span(x));
  BOOST_TEST(s.min == -4.0);
  BOOST_TEST(s.max == 3.0);
  BOOST_TEST(s.rms == 2.5);
  BOOST_TEST(s.zero_share == 0.5);
  BOOST_TEST(s.nonfinite == 0);
}

// NaN and infinities are counted, and no other statistic sees them, wherever they stand: each
// position of a tensor that is longer than the vector lanes and not a multiple of them.
BOOST_AUTO_TEST_CASE(nonfinite_elements_are_counted_and_left_out) {
  for (const double bad : {std::nan(""), kInf, -kInf}) {
    for (std::size_t at = 0; at < 11; ++at) {
      std::vector<double> x(11, 2.0);
      x[at] = bad;
      const Statistics s = statistics(std::span(x));
      BOOST_TEST(s.nonfinite == 1);
      BOOST_TEST(s.min == 2.0);
      BOOST_TEST(s.max == 2.0);
      BOOST_TEST(s.rms == 2.0);
      BOOST_TEST(s.zero_share == 0.0);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_tensor_without_finite_elements_has_zero_statistics) {
  const std::vector<double> x{kInf, std::nan("")};
  const Statistics s = statistics(std::span(x));
  BOOST_TEST(s.nonfinite == 2);
  BOOST_TEST(s.min == 0.0);
  BOOST_TEST(s.max == 0.0);
  BOOST_TEST(s.rms == 0.0);
  const Statistics none = statistics(std::span<const double>());
  BOOST_TEST(none.nonfinite == 0);
  BOOST_TEST(none.zero_share == 0.0);
}

// Squares of these leave the range of double, their root mean square does not.
BOOST_AUTO_TEST_CASE(rms_neither_overflows_nor_vanishes) {
  for (const double size : {1e300, 1e-300, 5e-324, std::numeric_limits<double>::max()}) {
    const std::vector<double> x(9, -size);
    BOOST_TEST(statistics(std::span(x)).rms == size, boost::test_tools::tolerance(1e-15));
  }
}

// One extreme per position over several chunks: an off-by-one in lanes, tail or chunks misses one.
BOOST_AUTO_TEST_CASE(no_element_is_missed) {
  const std::size_t count = 2 * 32768 + 7;
  std::vector<double> x(count, 1.0);
  for (const std::size_t at : {std::size_t{0}, std::size_t{3}, std::size_t{4}, std::size_t{32767},
                               std::size_t{32768}, count - 4, count - 3, count - 1}) {
    x[at] = 1e6;
    const Statistics high = statistics(std::span(x));
    x[at] = -1e6;
    const Statistics low = statistics(std::span(x));
    x[at] = 1.0;
    BOOST_TEST(high.max == 1e6);
    BOOST_TEST(low.min == -1e6);
    const double n = static_cast<double>(count);
    BOOST_TEST(high.rms == std::sqrt((1e12 + n - 1) / n), boost::test_tools::tolerance(1e-14));
  }
}

BOOST_AUTO_TEST_CASE(integers_have_statistics_of_their_values) {
  const std::vector<int32_t> x{-3, 4, 0, 0};
  const Statistics s = statistics(std::span(x));
  BOOST_TEST(s.min == -3.0);
  BOOST_TEST(s.max == 4.0);
  BOOST_TEST(s.rms == 2.5);
  BOOST_TEST(s.zero_share == 0.5);
}

// XXH3-128 of nothing, from the reference implementation's documentation.
BOOST_AUTO_TEST_CASE(hash_is_xxh3_128) {
  BOOST_TEST(hash_hex("", 0) == "99aa06d3014798d86001c324468d497f");
  Hasher pieces;
  pieces.add("gol", 3);
  pieces.add("den", 3);
  BOOST_TEST(pieces.hex() == hash_hex("golden", 6));
}

BOOST_AUTO_TEST_CASE(values_are_exact_floats_or_not) {
  const std::vector<double> exact{1.0, -0.0, 0x1p-149, kInf};
  BOOST_TEST(as_exact_floats(exact).size() == 4u);
  BOOST_TEST(std::signbit(as_exact_floats(exact)[1]));
  for (const double inexact : {0.1, 1e39, 0x1p-150, std::nan("")}) {
    const std::vector<double> values{1.0, inexact};
    BOOST_TEST(as_exact_floats(values).empty());
  }
}

BOOST_AUTO_TEST_CASE(root_hash_sees_each_part_and_no_order) {
  ManifestRow a, b;
  a.path = "/forward/a";
  a.role = b.role = "forward";
  a.hash = b.hash = std::string(32, '0');
  a.shape = b.shape = {2, 3};
  b.path = "/forward/b";
  const std::vector<ManifestRow> rows{a, b}, turned{b, a};
  const std::string root = root_hash("{}", 1, rows);
  BOOST_TEST(root_hash("{}", 1, turned) == root);
  BOOST_TEST(root_hash("{ }", 1, rows) != root);
  BOOST_TEST(root_hash("{}", 2, rows) != root);
  const auto changed = [&](auto change) {
    std::vector<ManifestRow> other = rows;
    change(other[1]);
    return root_hash("{}", 1, other) != root;
  };
  BOOST_TEST(changed([](ManifestRow& r) { r.path = "/forward/c"; }));
  BOOST_TEST(changed([](ManifestRow& r) { r.dtype = DType::float32; }));
  BOOST_TEST(changed([](ManifestRow& r) { r.shape = {3, 2}; }));
  BOOST_TEST(changed([](ManifestRow& r) { r.role = "grad"; }));
  BOOST_TEST(changed([](ManifestRow& r) { r.hash[31] = '1'; }));
  BOOST_TEST(!changed([](ManifestRow& r) { r.stats.min = 1; }));
  BOOST_TEST(!changed([](ManifestRow& r) { r.stored = true; }));
}

BOOST_AUTO_TEST_CASE(block_reads_back_and_is_512_bytes) {
  const Block block{.file_bytes = 123456,
                    .manifest = {4096, 784},
                    .manifest_hash = hash_hex("a", 1),
                    .metadata_hash = hash_hex("b", 1)};
  const std::string text = block_text(block);
  BOOST_TEST(text.size() == kBlockBytes);
  const Block back = parse_block(text, "g.h5");
  BOOST_TEST(back.file_bytes == 123456u);
  BOOST_TEST((back.manifest == block.manifest));
  BOOST_TEST(back.manifest_hash == block.manifest_hash);
  BOOST_TEST(back.metadata_hash == block.metadata_hash);
}

// Every bit of it, the padding included.
BOOST_AUTO_TEST_CASE(block_with_any_bit_flipped_is_rejected) {
  const std::string text = block_text({.file_bytes = 4096,
                                       .manifest = {512, 0},
                                       .manifest_hash = hash_hex("a", 1),
                                       .metadata_hash = hash_hex("b", 1)});
  int accepted = 0;
  for (std::size_t bit = 0; bit < 8 * text.size(); ++bit) {
    std::string flipped = text;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    if (complaint([&] { parse_block(flipped, "g.h5"); }).empty()) ++accepted;
  }
  BOOST_TEST(accepted == 0);
}

BOOST_AUTO_TEST_CASE(records_read_back) {
  ManifestRow row;
  row.path = "/forward/layers/0/attn/q";
  row.dtype = DType::bfloat16;
  row.shape = {2, 8, 64, 64};
  row.role = "forward";
  row.hash = hash_hex("", 0);
  row.stats = {.min = -1, .max = 2, .rms = 0.5, .zero_share = 0.25, .nonfinite = 3};
  row.stored = true;
  const ManifestRow back = from_record(to_record(row, 4096, "g.h5"), "g.h5");
  BOOST_TEST(back.path == row.path);
  BOOST_TEST((back.dtype == row.dtype));
  BOOST_TEST(back.shape == row.shape);
  BOOST_TEST(back.role == row.role);
  BOOST_TEST(back.hash == row.hash);
  BOOST_TEST(back.stats.rms == 0.5);
  BOOST_TEST(back.stats.nonfinite == 3);
  BOOST_TEST(back.stored);
}

BOOST_AUTO_TEST_CASE(names_and_shapes_without_room_in_a_record_are_rejected) {
  ManifestRow row;
  row.path = "/forward/" + std::string(200, 'x');
  BOOST_TEST(contains(complaint([&] { to_record(row, -1, "g.h5"); }), "the name is too long"));
  row.path = "/forward/x";
  row.shape = Shape(9, 1);
  BOOST_TEST(complaint([&] { to_record(row, -1, "g.h5"); }) ==
             "g.h5: /forward/x: expected at most 8 axes, got [1,1,1,1,1,1,1,1,1]");
}

}  // namespace
}  // namespace assay::golden
