#include "tests/reference/ops/bench.h"

#include <fmt/format.h>

#include <cmath>

#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

// The index of a flat position in a row-major array of this shape.
std::vector<int64_t> unflatten(const Shape& shape, int64_t flat) {
  std::vector<int64_t> index(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    index[axis] = flat % shape[axis];
    flat /= shape[axis];
  }
  return index;
}

}  // namespace

Bench::Bench(const OpCase& op_case) : case_(op_case) {
  Graph graph;
  std::vector<Node> nodes;
  for (std::size_t i = 0; i < case_.operands.size(); ++i) {
    const OperandCase& operand = case_.operands[i];
    const std::string name = fmt::format("operand {}", i);
    nodes.push_back(operand.kind == Kind::parameter
                        ? graph.weight(name, operand.shape)
                        : graph.input(name, operand.shape, operand.axes));
  }
  const Node node = case_.build(nodes);
  op_ = node.data().op;
  result_ = node.data().result;
}

std::vector<Array> Bench::draw(uint64_t seed) const {
  std::vector<Array> arrays;
  for (std::size_t i = 0; i < case_.operands.size(); ++i) {
    const OperandCase& operand = case_.operands[i];
    Array array = random_array(operand.shape, seed, fmt::format("{} {}", case_.what, i));
    const Relation relation(operand.shape, operand.axes, 1);
    for (int64_t element = 0; element < array.size(); ++element) {
      double& value = array.data()[element];
      value = operand.element ? operand.element(value) : 2 * value;
      const auto kind = cell_kind(i, relation, cell_of(operand.shape, operand.axes, element));
      if (kind == Relation::Cell::zero) value = 0;
      if (kind == Relation::Cell::excluded) value = -INFINITY;
    }
    arrays.push_back(std::move(array));
  }
  return arrays;
}

Array Bench::value(const std::vector<Array>& operands) const {
  Array out = Array::uninitialized(result_.shape);
  op_->value(operands, out);
  return out;
}

Relation::Cell Bench::cell_kind(std::size_t operand, const Relation& relation, int64_t cell) const {
  const auto& kind = case_.operands[operand].cell;
  return kind ? kind(unflatten(relation.cell_shape(), cell)) : Relation::Cell::variable;
}

int64_t cell_of(const Shape& shape, const std::string& axes, int64_t element) {
  const std::vector<int64_t> index = unflatten(shape, element);
  int64_t cell = 0;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (axes[axis] != 'D') cell = cell * shape[axis] + index[axis];
  }
  return cell;
}

Array copy(const Array& array) { return Array::copy_of(array.shape(), array.values()); }

}  // namespace assay::reference::testing
