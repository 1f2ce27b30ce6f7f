// Axes by name, worked by hand on tensors of a few elements.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>

#include "golden/contract/error.h"
#include "golden/maps/gather.h"
#include "golden/maps/name_map.h"

namespace assay::golden {
namespace {

namespace tt = boost::test_tools;

std::vector<double> counted(const Shape& shape) {
  std::vector<double> values(static_cast<std::size_t>(element_count(shape)));
  std::iota(values.begin(), values.end(), 0.0);
  return values;
}

// The elements of a tensor 0, 1, 2, .. under a rule, with B = 2, T = 2, H = 2, Dh = 2.
std::vector<double> gathered(const std::string& axes, const Shape& source, const Shape& due,
                             GatherRule rule = {}) {
  rule.axes = parse_axes(axes, "map");
  const std::map<std::string, int64_t> extents{{"B", 2},   {"T", 2},  {"S", 2}, {"H", 2},
                                               {"Hkv", 1}, {"Dh", 2}, {"D", 3}, {"three", 3}};
  const Gather gather(rule, source, {}, due, extents, "map");
  std::vector<double> out(static_cast<std::size_t>(element_count(due)));
  gather.run(counted(source), out);
  return out;
}

BOOST_AUTO_TEST_SUITE(gather)

BOOST_AUTO_TEST_CASE(transpose) {
  const std::vector<double> due{0, 3, 1, 4, 2, 5};
  BOOST_TEST(gathered("B D -> D B", {2, 3}, {3, 2}) == due, tt::per_element());
}

BOOST_AUTO_TEST_CASE(heads_are_split_and_moved_before_positions) {
  // [T,(H Dh)]: position 0 is 0 1 | 2 3, position 1 is 4 5 | 6 7.
  const std::vector<double> due{0, 1, 4, 5, 2, 3, 6, 7};
  BOOST_TEST(gathered("T (H Dh) -> H T Dh", {2, 4}, {2, 2, 2}) == due, tt::per_element());
}

BOOST_AUTO_TEST_CASE(a_part_is_an_index_along_what_is_dropped) {
  const std::vector<double> due{2, 5};
  BOOST_TEST(gathered("(B three) -> B", {6}, {2}, {.part = {{2, 3}}}) == due, tt::per_element());
  const std::vector<double> outer{4, 5};
  BOOST_TEST(gathered("(three B) -> B", {6}, {2}, {.part = {{2, 3}}}) == outer, tt::per_element());
}

BOOST_AUTO_TEST_CASE(a_part_of_a_sum_is_a_term) {
  // 4 queries, 2 keys, 2 values side by side.
  const std::vector<double> keys{4, 5}, values{6, 7};
  const std::string axes = "(H Dh + Hkv Dh + Hkv Dh) -> Hkv Dh";
  BOOST_TEST(gathered(axes, {8}, {1, 2}, {.part = {{1, 3}}}) == keys, tt::per_element());
  BOOST_TEST(gathered(axes, {8}, {1, 2}, {.part = {{2, 3}}}) == values, tt::per_element());
}

BOOST_AUTO_TEST_CASE(interleaved_pairs_become_halves) {
  const std::vector<double> due{0, 2, 4, 1, 3, 5};
  BOOST_TEST(gathered("n -> n", {6}, {6}, {.interleaved = true}) == due, tt::per_element());
}

BOOST_AUTO_TEST_CASE(what_is_not_there_is_not_a_number) {
  const std::vector<double> out = gathered("B D -> B T D", {2, 3}, {2, 2, 3}, {.last = true});
  BOOST_TEST(std::isnan(out[0]));
  BOOST_TEST(out[3] == 0);
  BOOST_TEST(std::isnan(out[6]));
  BOOST_TEST(out[9] == 3);
}

BOOST_AUTO_TEST_CASE(copies_are_compared) {
  GatherRule rule;
  rule.axes = parse_axes("(Hkv copies) Dh -> Hkv Dh", "map");
  const Gather gather(rule, {3, 2}, {}, {1, 2}, {{"Hkv", 1}, {"Dh", 2}}, "map");
  BOOST_TEST(gather.copies() == 3);
  BOOST_TEST(gather.first_unequal(std::vector<double>{1, 2, 1, 2, 1, 2}) == -1);
  BOOST_TEST(gather.first_unequal(std::vector<double>{1, 2, 1, 2, 1, 3}) == 1);
  BOOST_TEST(gather.first_unequal(std::vector<double>{1, NAN, 1, NAN, 1, NAN}) == -1);
}

BOOST_AUTO_TEST_CASE(a_second_t_is_that_of_the_keys) {
  const std::vector<double> due{0, 2, 1, 3};
  BOOST_TEST(gathered("S T -> T T", {2, 2}, {2, 2}) == due, tt::per_element());
}

BOOST_AUTO_TEST_CASE(shapes_that_do_not_fit_are_refused) {
  BOOST_CHECK_THROW(gathered("B D -> D B", {2, 4}, {3, 2}), InputError);
  BOOST_CHECK_THROW(gathered("T (H Dh) -> H T Dh", {2, 5}, {2, 2, 2}), InputError);
  BOOST_CHECK_THROW(gathered("D -> B D", {3}, {2, 3}), InputError);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(name_map)

BOOST_AUTO_TEST_CASE(numbers_stand_for_their_letters) {
  const auto numbers = numbers_of("layers/{l}/recompute/{j}/v", "layers/12/recompute/3/v");
  BOOST_REQUIRE(numbers.has_value());
  BOOST_TEST(with_numbers("h.{l+1}.of.{j-1}.{x}", *numbers) == "h.13.of.2.{x}");
  BOOST_TEST(with_numbers("h.{l-1}", {{'l', 0}}) == "");
  BOOST_TEST(!numbers_of("layers/{l}/output", "layers/1/output/more").has_value());
  BOOST_TEST(!numbers_of("layers/{l}/output", "layers//output").has_value());
}

BOOST_AUTO_TEST_CASE(every_shipped_map_can_be_read) {
  BOOST_TEST(shipped_maps().size() >= 5u);
  for (const ShippedMap& shipped : shipped_maps()) {
    BOOST_TEST(!NameMap::load(shipped.name).entries().empty(), shipped.name);
  }
}

BOOST_AUTO_TEST_CASE(a_name_that_is_spelled_out_wins) {
  const NameMap map = NameMap::parse(
      R"({"layers/{l}/output": "a{l}", "layers/{n}/output": "b", "layers/1/output": "c"})", "map");
  BOOST_TEST(map.find("layers/0/output")->rules[0].from == "a{l}");
  BOOST_TEST(map.find("layers/1/output")->rules[0].from == "c");
  BOOST_TEST(map.find("embed") == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::golden
