#include "reference/interpreters/rounding.h"

#include "reference/interpreters/walk.h"
#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

// As they are: no rounding on the way in.
Rounded exactly(double x) {
  Rounded number;
  number.value = x;
  return number;
}

}  // namespace

void evaluate_rounded(const Graph& graph, const Bindings& bindings,
                      const golden::PrecisionSchedule& schedule, RoundingMode mode, uint64_t seed,
                      Observer& observer) {
  const auto rule = [&](int id) {
    return Rounding{.accumulate = schedule.accumulate,
                    .operands = schedule.operands.value_or(golden::Precision::fp64),
                    .stochastic = mode == RoundingMode::stochastic,
                    .seed = seed,
                    .node = static_cast<uint32_t>(id)};
  };
  walk<Field<Rounded>>(
      graph,
      [&](const NodeData& input) {
        return Field<Rounded>::from(bind(bindings, input),
                                    [](double x, int64_t) { return exactly(x); });
      },
      [&](int id, const NodeData& node, const std::vector<Field<Rounded>>& operands) {
        const RoundingScope scope(rule(id));
        auto field = Field<Rounded>::uninitialized(node.shape());
        node.op->rounded(operands, field);
        return field;
      },
      [&](const NodeData& node, const Field<Rounded>& field) {
        // The store draws from a stream apart from the node's own, whose seed is `seed`.
        Rounding store = rule(graph.find(node.name));
        store.seed = ~seed;
        const golden::Precision storage = schedule.storage_of(node.name);
        const RoundingScope scope(store);
        const Array stored = observer.observe(
            node, field.map([&](Rounded x) { return round_here(storage, x.value); }));
        const golden::Precision read = schedule.read_as(node.name);
        return Field<Rounded>::from(stored, [&](double x, int64_t) {
          return exactly(read == storage ? x : golden::round_to(read, x));
        });
      });
}

}  // namespace assay::reference
