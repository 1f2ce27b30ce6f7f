#include "cli/train/backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/engine/result_probe.h"
#include "cli/train/known_wrong.h"
#include "cli/train/losses.h"
#include "cuda_impl/engine/interface/backend_name.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/contract/precision.h"
#include "reference/interpreters/value.h"
#include "reference/training/trainer.h"

namespace assay::cli {
namespace {

class LogitsObserver : public reference::Observer {
 public:
  LogitsObserver(const TrainRows& rows, int64_t vocab, int64_t ahead)
      : rows_(rows), vocab_(vocab), ahead_(ahead) {}
  bool wants(const reference::NodeData& node) override { return node.name == "logits"; }
  reference::Array observe(const reference::NodeData& node, reference::Array value) override {
    if (node.name == "logits") losses = losses_of(value.values(), rows_, vocab_, ahead_);
    return value;
  }
  std::vector<double> losses;

 private:
  const TrainRows& rows_;
  int64_t vocab_, ahead_;
};

class ReferenceBackend : public TrainBackend {
 public:
  ReferenceBackend(const golden::ModelConfig& config, const golden::WeightSource& weights,
                   const reference::AdamwRule& rule, reference::Keep keep,
                   const reference::Dropout& dropout, const reference::BuildGraph& build)
      : trainer_(config, weights, rule, keep, dropout, build) {}

  void accumulate(const TrainRows& rows) override { trainer_.accumulate(batch_of(rows)); }

  TrainStep step(double learning_rate) override {
    const reference::TrainingStep report = trainer_.step(learning_rate);
    TrainStep step{report.loss, report.gradient_norm, report.skipped, {}};
    for (const golden::TensorInfo& info : trainer_.weights()) {
      double& squares = step.layer_norms[part_of(info.name)];
      for (const double g : trainer_.gradient(info.name)) squares += g * g;
    }
    for (auto& [name, norm] : step.layer_norms) norm = std::sqrt(norm);
    return step;
  }

  std::vector<double> losses(const TrainRows& rows) override {
    LogitsObserver observer(rows, trainer_.config().vocab_size, labels_ahead(trainer_.config()));
    reference::evaluate(trainer_.graph(rows.rows, rows.positions),
                        trainer_.bindings(batch_of(rows)), observer);
    return std::move(observer.losses);
  }

  void read_weights(const Receive& receive) const override {
    for (const golden::TensorInfo& info : trainer_.weights()) {
      receive(info.name, {info.shape, trainer_.weight(info.name)});
    }
  }
  void read_moments(const Receive& first, const Receive& second) const override {
    for (const golden::TensorInfo& info : trainer_.weights()) {
      first(info.name, {info.shape, trainer_.first_moment(info.name)});
      second(info.name, {info.shape, trainer_.second_moment(info.name)});
    }
  }
  Progress progress() const override { return {.steps = trainer_.steps()}; }
  void restore(const Progress& progress, const golden::WeightSource& first,
               const golden::WeightSource& second) override {
    HeldTensors weights;
    read_weights(weights.receive());
    trainer_.restore(weights, first, second, progress.steps);
  }
  int64_t peak_bytes() const override { return reference::peak_bytes(); }
  golden::Element element() const override { return golden::Element::f64; }

 private:
  static reference::TrainingBatch batch_of(const TrainRows& rows) {
    return {rows.rows, rows.positions, rows.tokens, {}, rows.labels};
  }

  reference::Trainer trainer_;
};

// Gradients of more parameters are not read back from a device in every step.
constexpr int64_t kMostReadBack = int64_t{1} << 24;

class EngineBackend : public TrainBackend {
 public:
  EngineBackend(const golden::ModelConfig& config, const golden::WeightSource& weights,
                golden::Precision precision, const cuda::TrainingOptions& options, bool on_device)
      : config_(config), precision_(precision), on_device_(on_device) {
    const auto make = on_device ? cuda::make_device_trainer : cuda::make_host_trainer;
    trainer_ = make(config, precision, weights, options);
    tells_norms_ = !on_device || parameters_of(config) <= kMostReadBack;
  }

  void accumulate(const TrainRows& rows) override {
    model_ = nullptr;
    const std::vector<uint8_t> real(rows.tokens.size(), 1);
    trainer_->accumulate({rows.rows, rows.positions, rows.tokens, real, rows.labels});
  }

  TrainStep step(double learning_rate) override {
    TrainStep step;
    if (tells_norms_) {
      trainer_->read_gradients([&](const std::string& name, const golden::TensorView& gradient) {
        double& squares = step.layer_norms[part_of(name)];
        for (const double g : gradient.values) squares += g * g;
      });
    }
    for (auto& [name, norm] : step.layer_norms) norm = std::sqrt(norm);
    const cuda::StepReport report = trainer_->step(learning_rate);
    step.loss = report.loss;
    step.gradient_norm = report.gradient_norm;
    step.skipped = report.skipped;
    return step;
  }

  // Of the weights as they are, by a model that is made of them.
  std::vector<double> losses(const TrainRows& rows) override {
    if (model_ == nullptr) {
      HeldTensors weights;
      trainer_->read_weights(weights.receive());
      const auto make = on_device_ ? cuda::make_device_model : cuda::make_host_model;
      model_ = make(config_, precision_, weights, {});
    }
    const std::vector<uint8_t> real(rows.tokens.size(), 1);
    ResultProbe probe("logits");
    model_->forward({rows.rows, rows.positions, rows.tokens, real, rows.labels}, &probe);
    return losses_of(probe.result.values, rows, config_.vocab_size, labels_ahead(config_));
  }

  void read_weights(const Receive& receive) const override { trainer_->read_weights(receive); }
  void read_moments(const Receive& first, const Receive& second) const override {
    trainer_->read_moments(first, second);
  }
  Progress progress() const override { return trainer_->progress(); }
  void restore(const Progress& progress, const golden::WeightSource& first,
               const golden::WeightSource& second) override {
    trainer_->restore(progress, first, second);
  }
  int64_t peak_bytes() const override { return static_cast<int64_t>(trainer_->bytes()); }
  golden::Element element() const override {
    return precision_ == golden::Precision::fp64 ? golden::Element::f64 : golden::Element::f32;
  }

 private:
  golden::ModelConfig config_;
  golden::Precision precision_;
  bool on_device_, tells_norms_ = true;
  std::unique_ptr<cuda::Trainer> trainer_;
  std::unique_ptr<cuda::Model> model_;  // of the present weights; null once they may have changed
};

reference::Keep keep_of(const std::string& name) {
  if (name == "shared") return reference::Keep::shared;
  return name == "inputs" ? reference::Keep::inputs : reference::Keep::all;
}

reference::BuildGraph build_of(const TrainRunOptions& options, const golden::ModelConfig& config) {
  if (options.known_wrong.empty()) return {};
  build_known_wrong(options.known_wrong, config, 1, 2);  // throws where a method has no such form
  return
      [name = options.known_wrong](const golden::ModelConfig& c, int64_t batch, int64_t positions) {
        return build_known_wrong(name, c, batch, positions);
      };
}

}  // namespace

int64_t parameters_of(const golden::ModelConfig& config) {
  int64_t count = 0;
  for (const golden::TensorInfo& info : golden::weight_list(config)) {
    count += golden::element_count(info.shape);
  }
  return count;
}

std::unique_ptr<TrainBackend> make_train_backend(const TrainRunOptions& options,
                                                 const golden::ModelConfig& config,
                                                 const golden::WeightSource& weights) {
  if (options.backend == "reference") {
    const reference::AdamwRule rule{.beta1 = options.beta1,
                                    .beta2 = options.beta2,
                                    .eps = options.eps,
                                    .weight_decay = options.weight_decay,
                                    .max_norm = options.clip};
    return std::make_unique<ReferenceBackend>(
        config, weights, rule, keep_of(options.keep),
        reference::Dropout{.rate = options.dropout, .seed = options.model.seed},
        build_of(options, config));
  }
  if (!options.known_wrong.empty()) {
    throw InputError(fmt::format("{}: a form for --backend reference, got {}", options.known_wrong,
                                 options.backend));
  }
  const bool on_device = options.backend == "cuda";
  if (const std::string why = on_device ? cuda::device_unavailable() : ""; !why.empty()) {
    throw InputError(fmt::format("--backend cuda: {}; --backend simt runs on the host", why));
  }
  const cuda::TrainingOptions training{.beta1 = options.beta1,
                                       .beta2 = options.beta2,
                                       .eps = options.eps,
                                       .weight_decay = options.weight_decay,
                                       .max_norm = options.clip,
                                       .dropout = options.dropout,
                                       .dropout_seed = options.model.seed,
                                       .model = {.keep = cuda::parse_keep("--keep", options.keep)}};
  const std::string precision = options.precision.empty() ? "fp32" : options.precision;
  return std::make_unique<EngineBackend>(config, weights, golden::parse_precision(precision),
                                         training, on_device);
}

// ------------------------------------------------------------------------------------------------
// weights

void HeldTensors::read(const std::string& name, std::span<double> out) const {
  const auto held = values_.find(name);
  if (held == values_.end() || held->second.size() != out.size()) {
    throw InputError(fmt::format("weight {}: expected {} values, got {}", name, out.size(),
                                 held == values_.end() ? 0 : held->second.size()));
  }
  std::copy(held->second.begin(), held->second.end(), out.begin());
}

TrainBackend::Receive HeldTensors::receive() {
  return [this](const std::string& name, const golden::TensorView& value) {
    values_[name].assign(value.values.begin(), value.values.end());
  };
}

InitialWeights::InitialWeights(const golden::ModelConfig& config, uint64_t seed)
    : drawn_(config, seed) {
  for (const golden::TensorInfo& info : golden::weight_list(config)) {
    shapes_[info.name] = info.shape;
  }
  for (int64_t l = 0; l < config.num_hidden_layers; ++l) {
    for (const golden::LearnedWeight& learned : golden::learned_weights(config, l)) {
      learned_.insert(learned.info.name);
    }
  }
}

void InitialWeights::read(const std::string& name, std::span<double> out) const {
  drawn_.read(name, out);
  if (learned_.contains(name)) return;
  const auto fill = [&](double value) { std::fill(out.begin(), out.end(), value); };
  if (name.ends_with(".bias")) return fill(0);
  if (shapes_.at(name).size() == 1) return fill(1);
  // A drawn embedding of GPT-2 has logits of deviation 3, a head of its own has 1.
  const bool embedding = name.starts_with("transformer.wte") || name.starts_with("transformer.wpe");
  if (!embedding && !name.starts_with("lm_head")) return;
  for (double& value : out) value *= embedding ? 0.0625 : 0.25;
}

std::string part_of(const std::string& weight) {
  for (const auto& [prefix, part] : {std::pair{"model.layers.", "layers/"},
                                     {"transformer.h.", "layers/"},
                                     {"model.groups.", "groups/"}}) {
    if (!weight.starts_with(prefix)) continue;
    const std::size_t from = std::string(prefix).size();
    return part + weight.substr(from, weight.find('.', from) - from);
  }
  if (weight.starts_with("lm_head")) return "head";
  const bool norm = weight.starts_with("model.norm") || weight.starts_with("transformer.ln_f");
  return norm ? "final_norm" : "embed";
}

}  // namespace assay::cli
