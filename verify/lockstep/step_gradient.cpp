#include "verify/lockstep/step_gradient.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "reference/interpreters/gradient_error.h"
#include "reference/methods/dropout.h"
#include "reference/methods/registry.h"
#include "verify/gradients/gradient_noise.h"
#include "verify/lockstep/micro_batches.h"
#include "verify/numerics/case.h"
#include "verify/subjects/bindings.h"

namespace assay::verify {
namespace {

using reference::Array;
using reference::NodeData;

bool is_mask(const NodeData& node) { return node.name.starts_with("dropout/"); }

// What one micro-batch gives.
class MicroBatchGradient : public reference::GradientErrorObserver {
 public:
  MicroBatchGradient(const std::string& method, const golden::PrecisionSchedule& schedule,
                     const GradientSource::WeightDeviation& deviation)
      : method_(method), schedule_(schedule), deviation_(deviation) {}

  bool wants(const NodeData& node) override { return node.name == "loss"; }
  void observe(const NodeData&, const Array& value, const Array& error) override {
    loss = value.data()[0];
    loss_deviation = error.absent() ? 0 : error.data()[0];
  }
  Array error_of_input(const NodeData& node, const Array& value) override {
    if (is_mask(node)) return mask_error(value);
    Array own = learned_rounding(method_, schedule_.storage, node, value);
    Array beside = node.weight && deviation_ ? deviation_(node.name) : Array();
    if (own.absent() || beside.absent()) return own.absent() ? beside : own;
    for (int64_t i = 0; i < own.size(); ++i) {
      own.data()[i] = std::hypot(own.data()[i], beside.data()[i]);
    }
    return own;
  }
  void observe_gradient(const NodeData& node, const Array& gradient,
                        const Array& deviation) override {
    if (!node.weight) return;
    values[node.name] = gradient;
    deviations[node.name] = deviation;
  }

  double loss = 0, loss_deviation = 0;
  std::map<std::string, Array> values, deviations;

 private:
  // 1 / (1 - p) is rounded before anything is multiplied with it.
  Array mask_error(const Array& mask) const {
    const double unit =
        golden::unit_roundoff(schedule_.eager ? schedule_.storage : schedule_.accumulate);
    Array error = Array::copy_of(mask.shape(), mask.values());
    for (double& x : error.values()) x *= unit;
    return error;
  }

  const std::string& method_;
  const golden::PrecisionSchedule& schedule_;
  const GradientSource::WeightDeviation& deviation_;
};

void widen(MicroBatchGradient& part, RowNoise noise) {
  for (auto& [name, deviation] : part.deviations) {
    if (!deviation.absent()) deviation = noise.widened(kGrad + name, deviation);
  }
  const double deviation[] = {part.loss_deviation};
  part.loss_deviation = noise.widened("loss", Array::copy_of({1}, deviation)).data()[0];
}

// What error analysis cannot tell may be anything.
double known(double deviation) {
  return std::isnan(deviation) ? std::numeric_limits<double>::infinity() : deviation;
}

// sum += share * (x + per_size |y|)
void add_share(Array& sum, double share, const Array& x, double per_size, const Array& y) {
  for (int64_t i = 0; i < sum.size(); ++i) {
    const double own = x.absent() ? 0 : x.data()[i];
    sum.data()[i] += share * (own + per_size * std::fabs(y.data()[i]));
  }
}

}  // namespace

GradientSource::GradientSource(const golden::ModelConfig& config,
                               const TrainingArithmetic& arithmetic, double reach,
                               const reference::Dropout& dropout)
    : config_(config), arithmetic_(arithmetic), reach_(reach), dropout_(dropout) {}

std::vector<std::string> GradientSource::backward_order(const Batch& batch) const {
  const reference::Graph& graph = graph_of(batch);
  const std::vector<int> places = backward_places(graph);
  const auto place_of = [&](const std::string& name) {
    const int id = graph.find(name);
    return id < 0 ? -1 : places[static_cast<std::size_t>(id)];
  };
  std::vector<std::string> order;
  for (const golden::TensorInfo& info : golden::weight_list(config_)) order.push_back(info.name);
  std::stable_sort(order.begin(), order.end(),
                   [&](const auto& a, const auto& b) { return place_of(a) > place_of(b); });
  return order;
}

const reference::Graph& GradientSource::graph_of(const Batch& batch) const {
  auto& graph = graphs_[{batch.batch, batch.positions}];
  if (graph == nullptr) {
    const auto build = dropout_.rate > 0 ? reference::build_with_dropout : reference::build_model;
    graph = build(config_, batch.batch, batch.positions);
  }
  return *graph;
}

reference::Bindings GradientSource::bindings(const Batch& batch,
                                             const golden::WeightSource& weights,
                                             const MaskPlace& place) const {
  return [this, plain = bind(batch, weights), place](const NodeData& input) {
    if (!is_mask(input)) return plain(input);
    Array mask = Array::uninitialized(input.shape());
    const int64_t row = mask.size() / input.shape()[0];
    reference::dropout_mask(dropout_, place.step, input.name,
                            static_cast<uint64_t>(place.first_row * row), mask.values());
    if (place.is_scaled) return mask;
    for (double& x : mask.values()) x *= 1 - dropout_.rate;
    return mask;
  };
}

StepGradient GradientSource::of(const Tensors& weights, const std::vector<Batch>& micro_batches,
                                const MaskPlace& place, const WeightDeviation& deviation,
                                bool sampled) const {
  const golden::PrecisionSchedule& schedule = arithmetic_.schedule;
  const HeldTensors masters(weights);
  const HeldWeights held(masters, config_.method, schedule.storage);
  StepGradient step;
  for (const golden::TensorInfo& info : golden::weight_list(config_)) {
    step.values[info.name] = Array::zeros(info.shape);
    step.deviations[info.name] = Array::zeros(info.shape);
    step.elements += golden::element_count(info.shape);
  }
  double counted = 0;
  for (const Batch& batch : micro_batches) {
    counted += static_cast<double>(reference::counted_positions(config_, training_batch(batch)));
  }
  // A gradient that is kept in the storage type is rounded to it by every sum.
  const double sums = static_cast<double>(micro_batches.size()) + 3;
  const double unit =
      golden::unit_roundoff(schedule.eager ? schedule.storage : schedule.accumulate);
  MaskPlace own = place;
  for (const Batch& batch : micro_batches) {
    const reference::Graph& graph = graph_of(batch);
    const reference::Bindings bound = bindings(batch, held, own);
    own.first_row += batch.batch;
    MicroBatchGradient part(config_.method, schedule, deviation);
    reference::evaluate_gradient_with_error(graph, bound, graph.find("loss"), schedule, part,
                                            reach_);
    if (sampled) widen(part, free_gradient_noise({graph, bound, config_.method}, schedule));
    const double share =
        static_cast<double>(reference::counted_positions(config_, training_batch(batch))) / counted;
    step.loss += share * part.loss;
    step.loss_deviation +=
        share * (part.loss_deviation + 4 * golden::unit_roundoff(schedule.accumulate) * part.loss);
    for (const auto& [name, value] : part.values) {
      add_share(step.values.at(name), share, value, 0, value);
      add_share(step.deviations.at(name), share, part.deviations.at(name),
                micro_batches.size() > 1 ? sums * unit : 0, value);
    }
  }
  double squares = 0, variance = 0;
  for (const auto& [name, value] : step.values) {
    for (const double x : value.values()) squares += x * x;
    for (const double x : step.deviations.at(name).values()) variance += x * x;
  }
  step.norm = std::sqrt(squares);
  step.norm_deviation = known(std::sqrt(variance));
  step.loss_deviation = known(step.loss_deviation);
  return step;
}

}  // namespace assay::verify
