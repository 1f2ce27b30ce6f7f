// Every operation on part of a sequence: rows t0 .. T-1 at their own positions, beside keys
// 0 .. T-1, give the bits of the same rows of the whole.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>
#include <set>

#include "tests/reference/ops/bench.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

// Elements from `first` on along the axis with that letter; all of them where there is none.
Array from_row(const Array& whole, const std::string& axes, char letter, int64_t first) {
  const std::size_t axis = axes.find(letter);
  if (axis == std::string::npos) return whole;
  Shape shape = whole.shape();
  const int64_t extent = shape[axis];
  const int64_t inner = std::accumulate(shape.begin() + static_cast<std::ptrdiff_t>(axis) + 1,
                                        shape.end(), int64_t{1}, std::multiplies<>());
  shape[axis] = extent - first;
  Array part = Array::uninitialized(shape);
  for (int64_t i = 0; i < part.size(); ++i) {
    const int64_t block = shape[axis] * inner;
    part.data()[i] = whole.data()[i / block * extent * inner + first * inner + i % block];
  }
  return part;
}

int64_t extent_of(const OpCase& op_case, const Operand& result, char letter) {
  const auto find = [&](const Shape& shape, const std::string& axes) {
    const std::size_t axis = axes.find(letter);
    return axis == std::string::npos ? int64_t{0} : shape[axis];
  };
  int64_t most = find(result.shape, result.axes);
  for (const OperandCase& operand : op_case.operands) {
    most = std::max(most, find(operand.shape, operand.axes));
  }
  return most;
}

Places places_from(int64_t batch, int64_t first, int64_t rows, int64_t keys) {
  Places at;
  at.batch = batch, at.queries = rows - first, at.keys = keys;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t t = first; t < rows; ++t) at.query.push_back(t);
    for (int64_t s = 0; s < keys; ++s) at.key.push_back(s);
  }
  return at;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(streaming)

BOOST_AUTO_TEST_CASE(rows_at_their_positions_are_rows_of_the_whole) {
  int64_t compared = 0, by_position = 0;
  for (const OpCase& op_case : op_cases()) {
    const Bench bench(op_case);
    const int64_t rows = extent_of(op_case, bench.result(), 'T');
    if (rows < 2 || !bench.op().streams()) continue;
    const int64_t keys = std::max(rows, extent_of(op_case, bench.result(), 'S'));
    const std::vector<Array> operands = bench.draw(5);
    const Array whole = bench.value(operands);
    for (int64_t first = 0; first < rows; ++first) {
      BOOST_TEST_CONTEXT(op_case.what << ", rows from " << first) {
        std::vector<Array> in;
        std::vector<Operand> shapes;
        for (std::size_t i = 0; i < operands.size(); ++i) {
          const std::string& axes = op_case.operands[i].axes;
          const bool of_keys = bench.op().reads_keys(i, operands.size());
          in.push_back(of_keys ? operands[i] : from_row(operands[i], axes, 'T', first));
          shapes.push_back({in.back().shape(), axes});
        }
        if (bench.op().carries()) {  // of the rows themselves nothing stands there
          Array earlier = copy(whole);
          const int64_t width = earlier.shape()[2];
          for (int64_t i = 0; i < earlier.size(); ++i) {
            if (i / width % rows >= first) earlier.data()[i] = std::nan("");
          }
          in.push_back(earlier);
        }
        const Places at = places_from(operands[0].shape()[0], first, rows, keys);
        Array part = Array::uninitialized(bench.op().result_at(at, shapes).shape);
        bench.op().value_at(at, in, part);
        const Array expected = from_row(whole, bench.result().axes, 'T', first);
        BOOST_TEST((part.shape() == expected.shape()));
        BOOST_TEST(same_bits(part.values(), expected.values()));
        if (first == 0) continue;
        Array unaware = Array::uninitialized(part.shape());
        const Places at_start = places_from(at.batch, 0, rows - first, keys);
        bench.op().value_at(at_start, in, unaware);
        by_position += !same_bits(unaware.values(), expected.values());
      }
      ++compared;
    }
  }
  BOOST_TEST(compared > 20);
  BOOST_TEST(by_position > 20);  // rope, masks, factors and biases by position, distances
}

BOOST_AUTO_TEST_CASE(operations_that_hear_later_rows_say_so) {
  std::set<std::string> refused;
  for (const OpCase& op_case : op_cases()) {
    const Bench bench(op_case);
    if (!bench.op().streams()) refused.insert(bench.op().name());
  }
  const std::set<std::string> expected{"attend_back", "cross_entropy", "cross_entropy_in_place"};
  BOOST_TEST(refused == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
