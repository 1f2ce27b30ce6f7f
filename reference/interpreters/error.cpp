#include "reference/interpreters/error.h"

#include <cmath>
#include <vector>

#include "reference/interpreters/liveness.h"
#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

using golden::Precision;

// Half the smallest positive number of the type: the rounding of anything that underflows.
double underflow(Precision precision) {
  switch (precision) {
    case Precision::fp64:
      return 0x1p-1074;
    case Precision::fp32:
      return 0x1p-150;
    case Precision::bf16:
      return 0x1p-134;
  }
  return 0;
}

// Adds the rounding of a store. What is exact and representable stays exact.
void round_store(const ErrorModel& model, Precision storage, const Array& value, Array& error) {
  const bool worst = model.norm == ErrorNorm::worst;
  const double unit = golden::unit_roundoff(storage) / (worst ? 1.0 : std::sqrt(3.0));
  const double least = underflow(storage);
  const int64_t row = value.shape().empty() ? 1 : std::max<int64_t>(1, value.shape().back());
  for_rows(value.size() / row, 4 * row, [&](int64_t r) {
    for (int64_t i = r * row; i < (r + 1) * row; ++i) {
      const double y = value.data()[i];
      double& e = error.data()[i];
      if (!std::isfinite(y)) {
        e = 0;  // -inf of an excluded score: no error is allowed
      } else if (e != 0 || golden::round_to(storage, y) != y) {
        const double store = unit * (std::fabs(y) + (worst ? e : 0)) + least;
        e = worst ? e + store : std::sqrt(e * e + store * store);
      }
    }
  });
}

struct Evaluated {
  Array value, error;
};

}  // namespace

Array ErrorObserver::error_of_input(const NodeData& /*node*/, const Array& /*value*/) { return {}; }

void evaluate_with_error(const Graph& graph, const Bindings& bindings,
                         const golden::PrecisionSchedule& schedule, ErrorNorm norm,
                         ErrorObserver& observer) {
  const ErrorModel model{norm, golden::unit_roundoff(schedule.accumulate)};
  const std::vector<int> order = needed_by_names(graph);
  const std::vector<int> last = last_uses(graph, order);
  std::vector<Evaluated> results(graph.nodes().size());
  for (const int id : order) {
    const NodeData& node = graph.node(id);
    if (node.op == nullptr) continue;  // bound by its first reader
    std::vector<Array> operands, errors;
    for (const int input : node.inputs) {
      Evaluated& operand = results[static_cast<std::size_t>(input)];
      if (operand.value.absent()) {
        operand.value = bind(bindings, graph.node(input));
        operand.error = observer.error_of_input(graph.node(input), operand.value);
      }
      operands.push_back(operand.value);
      errors.push_back(operand.error);
    }
    for (const int input : node.inputs) {  // apart, for a node may read one tensor twice
      if (last[static_cast<std::size_t>(input)] == id) {
        results[static_cast<std::size_t>(input)] = {};
      }
    }
    Evaluated& result = results[static_cast<std::size_t>(id)];
    result = {Array::uninitialized(node.shape()), Array::uninitialized(node.shape())};
    node.op->value(operands, result.value);
    node.op->error(model, operands, errors, result.value, result.error);
    if (!node.name.empty()) {
      round_store(model, schedule.storage_of(node.name), result.value, result.error);
      observer.observe(node, result.value, result.error);
    }
    if (last[static_cast<std::size_t>(id)] == id) result = {};
  }
}

}  // namespace assay::reference
