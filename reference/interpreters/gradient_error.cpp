#include "reference/interpreters/gradient_error.h"

#include <cmath>
#include <vector>

#include "golden/contract/error.h"
#include "reference/interpreters/backwards.h"
#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

using Gradients = Field<Uncertain>;

// Passes the forward observer's calls on, and keeps what rules read.
class KeepValues : public ErrorObserver {
 public:
  KeepValues(const Graph& graph, const std::vector<bool>& on_way, ErrorObserver& inner)
      : graph_(graph),
        on_way_(on_way),
        inner_(inner),
        values_(graph.nodes().size()),
        errors_(graph.nodes().size()) {}

  void observe(const NodeData& node, const Array& value, const Array& error) override {
    if (inner_.wants(node)) inner_.observe(node, value, error);
  }
  // Rules read what lies between named nodes too: all of it is computed.
  bool wants(const NodeData&) override { return true; }
  bool gives(const NodeData& node) override { return inner_.gives(node); }
  std::pair<Array, Array> given(const NodeData& node) override { return inner_.given(node); }
  Array error_of_input(const NodeData& node, const Array& value) override {
    return inner_.error_of_input(node, value);
  }
  void keep(int id, const std::vector<Array>& values, const std::vector<Array>& errors) override {
    for_kept_operands(graph_, on_way_, id, [&](std::size_t i) {
      const auto input = static_cast<std::size_t>(graph_.node(id).inputs[i]);
      values_[input] = values[i];
      errors_[input] = errors[i];
    });
  }

  Gradients read(int id) const {
    const Array& value = values_[static_cast<std::size_t>(id)];
    const Array& error = errors_[static_cast<std::size_t>(id)];
    if (value.absent()) return Gradients::shape_only(graph_.node(id).shape());
    return Gradients::from(value, [&](double x, int64_t i) {
      const double e = error_at(error, i);
      return Uncertain(x, e * e);
    });
  }
  void drop(int id) {
    values_[static_cast<std::size_t>(id)] = Array();
    errors_[static_cast<std::size_t>(id)] = Array();
  }

 private:
  const Graph& graph_;
  const std::vector<bool>& on_way_;
  ErrorObserver& inner_;
  std::vector<Array> values_, errors_;
};

std::vector<int> readers_of(const Graph& graph, const std::vector<bool>& on_way) {
  std::vector<int> readers(graph.nodes().size());
  for (std::size_t id = 0; id < readers.size(); ++id) {
    if (!on_way[id]) continue;
    for (const int input : graph.node(static_cast<int>(id)).inputs) {
      ++readers[static_cast<std::size_t>(input)];
    }
  }
  return readers;
}

// Adds the roundings of `stores` stores. An exact number of the storage type stays exact.
void round_stores(golden::Precision storage, int stores, Gradients& gradient) {
  const double unit = golden::unit_roundoff(storage), least = golden::smallest(storage) / 2;
  const double times = std::max(1, stores);
  const int64_t row =
      gradient.shape().empty() ? 1 : std::max<int64_t>(1, gradient.shape().back());
  for_rows(gradient.size() / row, 4 * row, [&](int64_t r) {
    for (int64_t i = r * row; i < (r + 1) * row; ++i) {
      Uncertain& g = gradient.data()[i];
      if (g.variance == 0 && golden::round_to(storage, g.value) == g.value) continue;
      g.variance += times * (unit * unit / 3 * g.value * g.value + least * least);
    }
  });
}

}  // namespace

bool GradientErrorObserver::gives_gradient(const NodeData& /*node*/) { return false; }
std::pair<Array, Array> GradientErrorObserver::given_gradient(const NodeData& node) {
  ASSAY_CHECK(false, node.name);
  return {};
}

void evaluate_gradient_with_error(const Graph& graph, const Bindings& bindings, int loss,
                                  const golden::PrecisionSchedule& schedule,
                                  GradientErrorObserver& observer, double reach) {
  ASSAY_CHECK(graph.node(loss).shape().empty(), golden::shape_text(graph.node(loss).shape()));
  const std::vector<bool> on_way = on_the_way(graph, loss);
  const std::vector<int> readers = readers_of(graph, on_way);
  KeepValues tape(graph, on_way, observer);
  evaluate_with_error(graph, bindings, schedule, ErrorNorm::deviation, tape, reach);
  if (!on_way[static_cast<std::size_t>(loss)]) return;  // no weight reaches it
  const ErrorModel model = error_model(schedule, ErrorNorm::deviation, reach);
  const UncertainScope scope(rule_of(model));
  run_backwards<Gradients>(
      graph, loss, on_way, [](const Shape& shape) { return Gradients::zeros(shape); },
      [](Gradients& own) { own.data()[0] = Uncertain(1.0); }, [&](int id) { return tape.read(id); },
      [&](int id, Gradients gradient) {
        const NodeData& node = graph.node(id);
        if (id != loss) {
          round_stores(schedule.storage, readers[static_cast<std::size_t>(id)], gradient);
        }
        if (node.name.empty()) return gradient;
        observer.observe_gradient(node, gradient.map([](Uncertain x) { return x.value; }),
                                  gradient.map([](Uncertain x) { return x.deviation(); }));
        if (!observer.gives_gradient(node)) return gradient;
        const auto [value, error] = observer.given_gradient(node);
        ASSAY_CHECK(value.shape() == node.shape(), node.name);
        return Gradients::from(value, [&error = error](double x, int64_t i) {
          const double e = error_at(error, i);
          return Uncertain(x, e * e);
        });
      },
      [](const NodeData& node, const std::vector<Gradients>& operands, const Gradients& result,
         const Gradients& gradient, std::vector<Gradients>& operand_gradients) {
        node.op->gradient_error(operands, result, gradient, operand_gradients);
      },
      [&](int id) { tape.drop(id); });
}

}  // namespace assay::reference
