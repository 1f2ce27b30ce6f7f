#include "reference/interpreters/error.h"

#include <cmath>
#include <vector>

#include "golden/contract/error.h"
#include "reference/interpreters/walk.h"
#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

using golden::Precision;

// Adds the rounding of a store. What is exact and representable stays exact.
// name: of the tensor, "" if it has none.
void round_store(const ErrorModel& model, Precision storage, const std::string& name,
                 const Array& value, Array& error) {
  const bool may_be_excluded = name.ends_with("attn/scores");
  const bool worst = model.norm == ErrorNorm::worst;
  const double unit = golden::unit_roundoff(storage) / (worst ? 1.0 : std::sqrt(3.0));
  const double least = golden::smallest(storage) / 2;  // the rounding of what underflows
  const int64_t row = value.shape().empty() ? 1 : std::max<int64_t>(1, value.shape().back());
  for_rows(value.size() / row, 4 * row, [&](int64_t r) {
    for (int64_t i = r * row; i < (r + 1) * row; ++i) {
      const double y = value.data()[i];
      double& e = error.data()[i];
      if (!std::isfinite(y)) {
        // -inf of an excluded score: no error is allowed, but where it may not be excluded
        e = may_be_excluded && y == -INFINITY && e == INFINITY ? e : 0;
      } else if (e != 0 || golden::round_to(storage, y) != y) {
        const double store = unit * (std::fabs(y) + (worst ? e : 0)) + least;
        e = worst ? e + store : root_sum_square(e, store);
      }
    }
  });
}

struct Evaluated {
  Array value, error;

  bool absent() const { return value.absent(); }
};

}  // namespace

bool ErrorObserver::wants(const NodeData& /*node*/) { return true; }
bool ErrorObserver::gives(const NodeData& /*node*/) { return false; }
std::pair<Array, Array> ErrorObserver::given(const NodeData& node) {
  ASSAY_CHECK(false, node.name);
  return {};
}
Array ErrorObserver::error_of_input(const NodeData& /*node*/, const Array& /*value*/) { return {}; }
void ErrorObserver::keep(int /*id*/, const std::vector<Array>& /*values*/,
                         const std::vector<Array>& /*errors*/) {}

ErrorModel error_model(const golden::PrecisionSchedule& schedule, ErrorNorm norm, double reach) {
  return {.norm = norm,
          .unit_roundoff = golden::unit_roundoff(schedule.accumulate),
          .operands = schedule.operands,
          .reach = reach,
          .eager_roundoff = schedule.eager ? golden::unit_roundoff(schedule.storage) : 0,
          .eager_least = schedule.eager ? golden::smallest(schedule.storage) / 2 : 0,
          .eager_most = schedule.eager ? golden::largest(schedule.storage) : INFINITY,
          .angle_roundoff = golden::unit_roundoff(schedule.angles),
          .least = golden::smallest_normal(schedule.accumulate)};
}

void evaluate_with_error(const Graph& graph, const Bindings& bindings,
                         const golden::PrecisionSchedule& schedule, ErrorNorm norm,
                         ErrorObserver& observer, double reach) {
  const ErrorModel model = error_model(schedule, norm, reach);
  const auto read = [&](const NodeData& node, Evaluated stored) {
    const Precision narrow = schedule.read_as(node.name);
    if (narrow == schedule.storage_of(node.name)) return stored;
    if (stored.error.absent()) stored.error = Array::zeros(node.shape());
    round_store(model, narrow, node.name, stored.value, stored.error);
    return stored;
  };
  const auto given = [&](const NodeData& node) {
    auto [value, error] = observer.given(node);
    ASSAY_CHECK(value.shape() == node.shape(), node.name);
    return read(node, {std::move(value), std::move(error)});
  };
  walk<Evaluated>(
      graph,
      needed_by(
          graph, [&](const NodeData& node) { return observer.wants(node); },
          [&](const NodeData& node) { return observer.gives(node); }),
      [&](const NodeData& input) {
        if (input.op != nullptr) return given(input);
        Array value = bind(bindings, input);
        Array error = observer.error_of_input(input, value);
        return Evaluated{std::move(value), std::move(error)};
      },
      [&](int id, const NodeData& node, const std::vector<Evaluated>& operands) {
        std::vector<Array> values, errors;
        for (const Evaluated& operand : operands) {
          values.push_back(operand.value);
          errors.push_back(operand.error);
        }
        observer.keep(id, values, errors);
        Evaluated result{Array::uninitialized(node.shape()), Array::uninitialized(node.shape())};
        node.op->value(values, result.value);
        node.op->error(model, values, errors, result.value, result.error);
        if (schedule.eager && node.name.empty()) {
          round_store(model, schedule.storage, node.name, result.value, result.error);
        }
        return result;
      },
      [&](const NodeData& node, Evaluated result) {
        round_store(model, schedule.storage_of(node.name), node.name, result.value, result.error);
        if (observer.wants(node)) observer.observe(node, result.value, result.error);
        return observer.gives(node) ? given(node) : read(node, std::move(result));
      });
}

}  // namespace assay::reference
