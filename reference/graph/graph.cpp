#include "reference/graph/graph.h"

#include <fmt/format.h>

#include "golden/contract/error.h"
#include "reference/graph/op.h"

namespace assay::reference {

const NodeData& Node::data() const { return graph->node(id); }
const Shape& Node::shape() const { return data().shape(); }

Node Graph::input(const std::string& name, Shape shape, std::string axes) {
  ASSAY_CHECK(shape.size() == axes.size(), golden::shape_text(shape) + " " + axes);
  ASSAY_CHECK(find(name) < 0, name);
  return {this, append({.op = nullptr,
                        .inputs = {},
                        .result = {std::move(shape), std::move(axes)},
                        .name = name,
                        .weight = false})};
}

Node Graph::weight(const std::string& name, Shape shape) {
  const int known = find(name);
  if (known >= 0) {
    ASSAY_CHECK(node(known).shape() == shape, name + " " + golden::shape_text(shape));
    return {this, known};
  }
  std::string axes(shape.size(), 'D');
  return {this, append({.op = nullptr,
                        .inputs = {},
                        .result = {std::move(shape), std::move(axes)},
                        .name = name,
                        .weight = true})};
}

Node Graph::add(std::shared_ptr<const Op> op, const std::vector<Node>& inputs) {
  std::vector<Operand> operands;
  std::vector<int> ids;
  for (const Node& input : inputs) {
    ASSAY_CHECK(input.graph == this, op->name() + ": an operand belongs to another graph");
    operands.push_back(input.data().result);
    ids.push_back(input.id);
  }
  Operand result = op->result(operands);
  return {this, append({.op = std::move(op),
                        .inputs = std::move(ids),
                        .result = std::move(result),
                        .name = "",
                        .weight = false})};
}

Node Graph::name(Node node, const std::string& name) {
  ASSAY_CHECK(find(name) < 0, name);
  NodeData& data = nodes_[static_cast<std::size_t>(node.id)];
  ASSAY_CHECK(data.name.empty(), data.name + " and " + name);
  data.name = name;
  by_name_[name] = node.id;
  return node;
}

int Graph::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? -1 : found->second;
}

std::string Graph::describe(int id) const {
  if (!node(id).name.empty()) return node(id).name;
  for (std::size_t next = static_cast<std::size_t>(id) + 1; next < nodes_.size(); ++next) {
    if (nodes_[next].op != nullptr && !nodes_[next].name.empty()) {
      return fmt::format("{} (before {})", node(id).op->name(), nodes_[next].name);
    }
  }
  return fmt::format("{} (node {})", node(id).op->name(), id);
}

void Op::gradient_error(std::span<const Field<Uncertain>>, const Field<Uncertain>&,
                        const Field<Uncertain>&, std::span<Field<Uncertain>>) const {
  throw std::logic_error(name() + ": has no rule for the errors of its gradient");
}

int Graph::append(NodeData node) {
  const int id = static_cast<int>(nodes_.size());
  if (!node.name.empty()) by_name_[node.name] = id;
  nodes_.push_back(std::move(node));
  return id;
}

}  // namespace assay::reference
