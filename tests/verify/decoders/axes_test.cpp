#include "verify/decoders/axes.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "golden/contract/error.h"

namespace assay::verify {
namespace {

using golden::Shape;

// A tensor of 2 rows of 7 positions; of 2 rows of 6, and of 3 rows of 7.
FoundAxes found(const Shape& shape, const Shape& shorter, const Shape& wider,
                const AxesOptions& options = {}) {
  Probed probed;
  probed.batch = 2;
  probed.positions = 7;
  probed.shape = shape;
  probed.shorter = shorter;
  probed.shorter_positions = 6;
  probed.wider = wider;
  probed.other_batch = 3;
  return find_axes("x", probed, options);
}

}  // namespace

BOOST_AUTO_TEST_CASE(axes_are_told_by_what_they_go_with_whatever_else_is_as_long) {
  BOOST_TEST(found({2, 7, 7}, {2, 6, 7}, {3, 7, 7}).layout.axes == "BT-");
  BOOST_TEST(found({7, 2, 2}, {6, 2, 2}, {7, 3, 2}).layout.axes == "TB-");
  BOOST_TEST(found({2, 2, 7, 7}, {2, 2, 6, 6}, {3, 2, 7, 7}).layout.axes == "B-TT");
  BOOST_TEST(found({14, 5}, {12, 5}, {21, 5}).layout.axes == "F-");
  BOOST_TEST(found({1, 14, 5}, {1, 12, 5}, {1, 21, 5}).layout.axes == "-F-");
  BOOST_TEST(found({3, 2, 7}, {3, 2, 6}, {3, 3, 7}).layout.axes == "-BT");
  BOOST_TEST(found({7}, {6}, {7}).layout.axes == "T");
}

BOOST_AUTO_TEST_CASE(what_has_no_positions_says_why) {
  BOOST_TEST(found({}, {}, {}).problem == "a single number");
  BOOST_TEST(found({2, 5}, {2, 5}, {3, 5}).problem == "no axis with the positions");
  BOOST_TEST(found({2, 4}, {2, 3}, {3, 4}).layout.axes == "BT");  // three fewer than the tokens
  BOOST_TEST(!found({28, 5}, {24, 5}, {42, 5}).problem.empty());  // two for each token
  BOOST_TEST(!found({14, 14}, {12, 12}, {21, 21}).problem.empty());
}

// An axis of one position less: it may begin at the first or at the second.
BOOST_AUTO_TEST_CASE(an_axis_of_another_length_is_read_from_its_beginning_and_may_be_shifted) {
  const Layout less = found({2, 6, 5}, {2, 5, 5}, {3, 6, 5}).layout;
  BOOST_TEST(less.first == 0);
  BOOST_TEST(less.slack == 1);
  const Layout more = found({2, 8, 5}, {2, 7, 5}, {3, 8, 5}).layout;
  BOOST_TEST(more.first == -1);
  BOOST_TEST(more.slack == 1);
  const Layout said =
      found({2, 6, 5}, {2, 5, 5}, {3, 6, 5}, {.given = {parse_given_axis("x=1:1")}}).layout;
  BOOST_TEST(said.first == 1);
  BOOST_TEST(said.slack == 0);
}

BOOST_AUTO_TEST_CASE(what_is_given_counts) {
  const auto with = [](const char* text) {
    return found({2, 2, 7, 7}, {2, 2, 6, 6}, {3, 2, 7, 7}, {.given = {parse_given_axis(text)}});
  };
  BOOST_TEST(with("x=3").layout.axes == "B-ST");
  BOOST_TEST(with("x=-2").layout.axes == "B-TS");
  BOOST_TEST(with("x=2,-1").layout.axes == "B-TT");
  BOOST_TEST(with("y=3").layout.axes == "B-TT");
  BOOST_TEST(with("*=none").problem == "it is said to have no positions");
  BOOST_CHECK_THROW(with("x=4"), InputError);
  BOOST_CHECK_THROW(with("x=2,4"), InputError);
  for (const char* wrong : {"x", "=1", "x=", "x=a", "x=1:", "x=1:b", "x=1,", "x=1,2,3"}) {
    BOOST_CHECK_THROW(parse_given_axis(wrong), InputError);
  }
}

BOOST_AUTO_TEST_CASE(by_one_shape_alone_axes_are_told_by_their_lengths) {
  Probed probed;
  probed.batch = 2;
  probed.positions = 7;
  probed.shape = {2, 4, 7, 5};
  BOOST_TEST(find_axes("x", probed, {}).layout.axes == "B-T-");
  probed.shape = {14, 5};
  BOOST_TEST(find_axes("x", probed, {}).layout.axes == "F-");
}

// Scores that nothing masked are products of two positions; masked ones are of the first.
BOOST_AUTO_TEST_CASE(a_mask_is_seen_in_the_values) {
  const auto masked = [](double value, double below) {
    golden::Tensor tensor{{1, 5, 5}, {}};
    for (int t = 0; t < 5; ++t) {
      for (int s = 0; s < 5; ++s) tensor.values.push_back(s > t ? value : below + 0.1 * s);
    }
    return is_masked({.axes = "-TT"}, tensor);
  };
  BOOST_TEST(masked(-INFINITY, 1));
  BOOST_TEST(masked(-1e4, 1));
  BOOST_TEST(masked(0, 1));
  BOOST_TEST(!masked(0.5, 1));
  BOOST_TEST(!masked(-3, 1));
  BOOST_TEST(!is_masked({.axes = "-T-"}, {{1, 1, 1}, {0}}));
}

}  // namespace assay::verify
