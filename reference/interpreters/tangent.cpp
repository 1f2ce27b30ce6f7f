#include "reference/interpreters/tangent.h"

#include "golden/contract/error.h"
#include "reference/graph/op.h"
#include "reference/interpreters/walk.h"

namespace assay::reference {
namespace {

void add_direction(const NodeData& node, const Array& direction, Field<Dual>& field) {
  if (direction.absent()) return;
  ASSAY_CHECK(direction.shape() == field.shape(), node.name);
  for (int64_t i = 0; i < field.size(); ++i) field.data()[i].tangent += direction.data()[i];
}

}  // namespace

void evaluate_with_tangent(const Graph& graph, const Bindings& bindings,
                           TangentObserver& observer) {
  walk<Field<Dual>>(
      graph,
      [&](const NodeData& input) {
        auto field =
            Field<Dual>::from(bind(bindings, input), [](double x, int64_t) { return Dual(x); });
        add_direction(input, observer.direction(input), field);
        return field;
      },
      [](int, const NodeData& node, const std::vector<Field<Dual>>& operands) {
        auto field = Field<Dual>::uninitialized(node.shape());
        node.op->tangent(operands, field);
        return field;
      },
      [&](const NodeData& node, Field<Dual> field) {
        add_direction(node, observer.direction(node), field);
        observer.observe(node, field.map([](Dual x) { return x.value; }),
                         field.map([](Dual x) { return x.tangent; }));
        return field;
      });
}

}  // namespace assay::reference
