#include "reference/interpreters/extended.h"

#include "reference/graph/op.h"
#include "reference/interpreters/walk.h"

namespace assay::reference {

void evaluate_extended(const Graph& graph, const Bindings& bindings, ExtendedObserver& observer) {
  walk<Field<DoubleDouble>>(
      graph,
      [&](const NodeData& input) {
        return Field<DoubleDouble>::from(bind(bindings, input),
                                         [](double x, int64_t) { return DoubleDouble(x); });
      },
      [](int, const NodeData& node, const std::vector<Field<DoubleDouble>>& operands) {
        auto field = Field<DoubleDouble>::uninitialized(node.shape());
        node.op->extended(operands, field);
        return field;
      },
      [&](const NodeData& node, Field<DoubleDouble> field) {
        observer.observe(node, field.map([](DoubleDouble x) { return x.hi; }),
                         field.map([](DoubleDouble x) { return x.lo; }));
        return field;
      });
}

}  // namespace assay::reference
