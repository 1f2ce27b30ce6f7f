#include "reference/training/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "golden/contract/error.h"
#include "reference/interpreters/gradient.h"
#include "reference/methods/dropout.h"
#include "reference/methods/registry.h"
#include "reference/ops/rules.h"

namespace assay::reference {
namespace {

// Position t predicts label t + ahead.
int64_t labels_ahead(const golden::ModelConfig& config) {
  const bool masked =
      golden::find_method(config.method).family == golden::Family::prob_transformer &&
      config.pt.output == golden::ProbTransformer::Output::mlm;
  return masked ? 0 : 1;
}

template <class T>
void check_each(const char* name, std::span<const T> values, const TrainingBatch& batch,
                const std::string& expected, const auto& fits) {
  const auto count = static_cast<std::size_t>(batch.batch * batch.positions);
  if (values.size() != count) {
    throw InputError(fmt::format("batch: {}: expected {} values ([B,T] = [{},{}]), got {}", name,
                                 count, batch.batch, batch.positions, values.size()));
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (fits(values[i])) continue;
    const auto place = static_cast<int64_t>(i);
    throw InputError(fmt::format("batch: {} at (b{},t{}): expected {}, got {}", name,
                                 place / batch.positions, place % batch.positions, expected,
                                 values[i]));
  }
}

template <class T>
Array doubles_of(const TrainingBatch& batch, std::span<const T> values) {
  Array array = Array::uninitialized({batch.batch, batch.positions});
  std::copy(values.begin(), values.end(), array.data());
  return array;
}

Array ones(const TrainingBatch& batch) {
  Array array = Array::uninitialized({batch.batch, batch.positions});
  std::fill(array.values().begin(), array.values().end(), 1.0);
  return array;
}

Array read_weight(const golden::WeightSource& source, const golden::TensorInfo& info) {
  Array array = Array::uninitialized(info.shape);
  source.read(info.name, array.values());
  return array;
}

// Hands on the loss and the gradients of weights.
class Harvest : public Observer, public GradientObserver {
 public:
  using Take = std::function<void(const std::string& name, const Array& gradient)>;
  explicit Harvest(Take take) : take_(std::move(take)) {}

  Array observe(const NodeData& node, Array value) override {
    if (node.name == "loss") loss_ = value.data()[0];
    return value;
  }
  void observe_gradient(const NodeData& node, const Array& gradient) override {
    if (node.weight) take_(node.name, gradient);
  }
  double loss() const { return loss_; }

 private:
  Take take_;
  double loss_ = 0;
};

}  // namespace

void check_batch(const golden::ModelConfig& config, const TrainingBatch& batch) {
  if (batch.batch < 1 || batch.positions < 1) {
    throw InputError(fmt::format("batch: expected [B,T] of at least [1,1], got [{},{}]",
                                 batch.batch, batch.positions));
  }
  golden::check_sizes(config, batch.batch, batch.positions);
  const auto V = config.vocab_size;
  const auto is_token = [V](int32_t id) { return id >= 0 && id < V; };
  check_each("tokens", batch.tokens, batch, fmt::format("0 .. {}", V - 1), is_token);
  if (!batch.attention_mask.empty()) {
    check_each("attention_mask", batch.attention_mask, batch, "0 or 1",
               [](uint8_t real) { return real <= 1; });
  }
  check_each("labels", batch.labels, batch, fmt::format("-100 or 0 .. {}", V - 1),
             [&](int32_t id) { return id == -100 || is_token(id); });
}

int64_t counted_positions(const golden::ModelConfig& config, const TrainingBatch& batch) {
  const int64_t ahead = labels_ahead(config);
  int64_t counted = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(batch.labels.size()); ++i) {
    const bool predicted = i % batch.positions >= ahead;
    if (predicted && batch.labels[static_cast<std::size_t>(i)] != -100) ++counted;
  }
  return counted;
}

Trainer::Trainer(const golden::ModelConfig& config, const golden::WeightSource& weights,
                 const AdamwRule& rule, Keep keep, const Dropout& dropout, BuildGraph build)
    : config_(config), rule_(rule), keep_(keep), dropout_(dropout), build_(std::move(build)) {
  golden::validate(config_, "config");
  validate(rule_, "trainer");
  if (!(dropout_.rate >= 0 && dropout_.rate < 1)) {
    throw InputError(
        fmt::format("trainer: dropout: expected 0 or more and less than 1, got {}", dropout_.rate));
  }
  if (dropout_.rate > 0 && build_) {
    throw InputError("trainer: dropout: expected 0 with a graph of another form");
  }
  if (dropout_.rate > 0) build_with_dropout(config_, 1, 1);  // throws where a method has none
  list_ = golden::weight_list(config_);
  for (std::size_t i = 0; i < list_.size(); ++i) index_[list_[i].name] = i;
  state_ = state_of(weights, nullptr, nullptr);
}

// ------------------------------------------------------------------------------------------------
// a step

const Graph& Trainer::kept_graph(KeptGraph& kept, const golden::Shape& shape, bool dropout) const {
  if (kept.graph == nullptr || kept.shape != shape) {
    const BuildGraph build = dropout ? build_with_dropout : build_ ? build_ : build_model;
    kept.graph = build(config_, shape[0], shape[1]);
    kept.shape = shape;
  }
  return *kept.graph;
}

const Graph& Trainer::graph(int64_t batch, int64_t positions) const {
  return kept_graph(plain_, {batch, positions}, false);
}

Array Trainer::mask_of(const NodeData& input) const {
  Array mask = Array::uninitialized(input.shape());
  const int64_t row = mask.size() / input.shape()[0];
  dropout_mask(dropout_, steps_ + 1, input.name, static_cast<uint64_t>(rows_ * row), mask.values());
  return mask;
}

Bindings Trainer::bindings(const TrainingBatch& batch) const {
  return [this, batch](const NodeData& input) {
    if (input.name == "tokens") return doubles_of(batch, batch.tokens);
    if (input.name == "labels") return doubles_of(batch, batch.labels);
    if (input.name == "attention_mask") {
      return batch.attention_mask.empty() ? ones(batch) : doubles_of(batch, batch.attention_mask);
    }
    if (input.name.starts_with("dropout/")) return mask_of(input);
    return trained(input.name).weight;
  };
}

void Trainer::accumulate(const TrainingBatch& batch) {
  check_batch(config_, batch);
  const int64_t counted = counted_positions(config_, batch);
  if (counted == 0) {
    rows_ += batch.batch;
    return;
  }
  const bool dropout = dropout_.rate > 0;
  const Graph& model =
      kept_graph(dropout ? trained_ : plain_, {batch.batch, batch.positions}, dropout);
  const int64_t divisor = divisor_ == 0 ? counted : divisor_;
  const double share = static_cast<double>(counted) / static_cast<double>(divisor);
  Harvest harvest([&](const std::string& name, const Array& gradient) {
    Array& sum = state_[index_.at(name)].sum;
    if (sum.absent()) sum = Array::zeros(gradient.shape());
    for_elements(gradient.shape(), 2,
                 [&](int64_t i) { sum.data()[i] += share * gradient.data()[i]; });
  });
  evaluate_with_gradient(model, bindings(batch), model.find("loss"), harvest, harvest,
                         segments_of(model, keep_));
  divisor_ = divisor;
  counted_ += counted;
  rows_ += batch.batch;
  loss_sum_ += static_cast<double>(counted) * harvest.loss();
}

TrainingStep Trainer::step(double learning_rate) {
  if (!(learning_rate >= 0) || !std::isfinite(learning_rate)) {
    throw InputError(
        fmt::format("trainer: learning_rate: expected 0 or more, got {}", learning_rate));
  }
  if (counted_ == 0) {
    throw InputError("trainer: step: expected a counted position since the last step, got none");
  }
  TrainingStep report;
  report.loss = loss_sum_ / static_cast<double>(counted_);
  form_gradients();
  report.gradient_norm = gradient_norm();
  report.skipped = !std::isfinite(report.gradient_norm);
  if (!report.skipped) update(learning_rate, report.gradient_norm);
  return report;
}

// (2), and the sums start from 0 again.
void Trainer::form_gradients() {
  const double scale = static_cast<double>(divisor_) / static_cast<double>(counted_);
  for (std::size_t i = 0; i < state_.size(); ++i) {
    Trained& own = state_[i];
    own.gradient = own.sum.absent() ? Array::zeros(list_[i].shape) : own.sum;
    own.sum = Array();
    if (scale == 1) continue;
    double* g = own.gradient.data();
    for_elements(own.gradient.shape(), 1, [&](int64_t e) { g[e] *= scale; });
  }
  loss_sum_ = 0;
  counted_ = divisor_ = rows_ = 0;
  stepped_ = true;
}

// The root of the sum over weights of the sum over elements, both ascending.
double Trainer::gradient_norm() const {
  std::vector<double> norms(state_.size());
  for_rows(static_cast<int64_t>(state_.size()), 1 << 14, [&](int64_t i) {
    RootSumSquare sum;
    for (const double g : state_[static_cast<std::size_t>(i)].gradient.values()) sum.add(g);
    norms[static_cast<std::size_t>(i)] = sum.result();
  });
  RootSumSquare all;
  for (const double norm : norms) all.add(norm);
  return all.result();
}

void Trainer::update(double learning_rate, double norm) {
  const bool clips = rule_.max_norm > 0 && norm > rule_.max_norm;
  AdamwStep step{
      .number = ++steps_, .rate = learning_rate, .clip = clips ? rule_.max_norm / norm : 1};
  for (std::size_t i = 0; i < state_.size(); ++i) {
    Trained& own = state_[i];
    step.decays = list_[i].shape.size() >= 2;
    adamw(rule_, step, own.gradient, own.weight, own.first, own.second);
  }
}

// ------------------------------------------------------------------------------------------------
// the state

Trainer::State Trainer::state_of(const golden::WeightSource& weights,
                                 const golden::WeightSource* first,
                                 const golden::WeightSource* second) const {
  const auto moment = [](const golden::WeightSource* source, const golden::TensorInfo& info) {
    return source == nullptr ? Array::zeros(info.shape) : read_weight(*source, info);
  };
  State state;
  for (const golden::TensorInfo& info : list_) {
    state.push_back({.weight = read_weight(weights, info),
                     .first = moment(first, info),
                     .second = moment(second, info),
                     .sum = {},
                     .gradient = {}});
  }
  return state;
}

void Trainer::restore(const golden::WeightSource& weights, const golden::WeightSource& first,
                      const golden::WeightSource& second, int64_t steps) {
  if (steps < 0) throw InputError(fmt::format("trainer: steps: expected 0 or more, got {}", steps));
  state_ = state_of(weights, &first, &second);
  steps_ = steps;
  loss_sum_ = 0;
  counted_ = divisor_ = rows_ = 0;
  stepped_ = false;
}

const Trainer::Trained& Trainer::trained(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) {
    throw InputError(fmt::format("weight {}: this model has no such weight", name));
  }
  return state_[found->second];
}

std::span<const double> Trainer::weight(const std::string& name) const {
  return trained(name).weight.values();
}

std::span<const double> Trainer::first_moment(const std::string& name) const {
  return trained(name).first.values();
}

std::span<const double> Trainer::second_moment(const std::string& name) const {
  return trained(name).second.values();
}

std::span<const double> Trainer::gradient(const std::string& name) const {
  const Trained& own = trained(name);
  if (!stepped_) {
    throw InputError(
        fmt::format("weight {}: its gradient: expected a step before it, got none", name));
  }
  return own.gradient.values();
}

}  // namespace assay::reference
