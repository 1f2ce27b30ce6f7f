#include "cuda_impl/engine/transformer_trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cuda_impl/engine/batch.h"
#include "cuda_impl/engine/hand_over.h"
#include "golden/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int64_t kGoodStepsToDouble = 2000;
// The norm takes gradients in pieces of so many, each in so many slices: a warp has the same work in
// small and in large weights.
constexpr int64_t kNormPiece = 1 << 16, kNormSlices = 8;

const TrainingOptions& checked(const TrainingOptions& options) {
  const auto expect = [](const char* name, double value, bool fits, const char* expected) {
    if (fits && std::isfinite(value)) return;
    throw InputError(fmt::format("trainer: {}: expected {}, got {}", name, expected, value));
  };
  const auto below_1 = [](double beta) { return beta >= 0 && beta < 1; };
  expect("beta1", options.beta1, below_1(options.beta1), "0 or more and less than 1");
  expect("beta2", options.beta2, below_1(options.beta2), "0 or more and less than 1");
  expect("eps", options.eps, options.eps > 0, "a positive number");
  expect("weight_decay", options.weight_decay, options.weight_decay >= 0, "0 or more");
  expect("max_norm", options.max_norm, options.max_norm >= 0, "0 (no clipping) or more");
  expect("loss_scale", options.loss_scale, options.loss_scale > 0, "a positive number");
  return options;
}

// Moments before the first step, and gradients before the first micro-batch.
class Zeros final : public golden::WeightSource {
 public:
  void read(const std::string&, std::span<double> out) const override {
    std::ranges::fill(out, 0.0);
  }
};

template <class T>
struct FlatArray {
  View<T, 1> values;
  bool matrix;
};

// In the order of for_each_array.
template <class T, class Arrays>
std::vector<FlatArray<T>> flatten(const Arrays& arrays) {
  std::vector<FlatArray<T>> all;
  for_each_array(arrays, [&]<int R>(const View<T, R>& view) {
    int64_t count = 1;
    for (const int64_t extent : view.shape) count *= extent;
    all.push_back({{view.data, {count}}, R >= 2});
  });
  return all;
}

}  // namespace

template <class S>
TransformerTrainer<S>::TransformerTrainer(const golden::ModelConfig& config,
                                          golden::Precision precision,
                                          const golden::WeightSource& weights,
                                          const TrainingOptions& options)
    : options_(checked(options)),
      parts_(std::make_shared<Parts<S>>(config, precision, weights, options.model)),
      queue_(parts_->queue),
      pass_(parts_),
      backward_(pass_),
      master_(numbers(weights)),
      first_(numbers(Zeros())),
      second_(numbers(Zeros())),
      learned_gradients_(config, Zeros(), queue_),
      scales_loss_(precision == golden::Precision::fp16),
      progress_{.loss_scale = scales_loss_ ? options.loss_scale : 1},
      report_(2) {
  clear();
  list_trained();
  fill_norm_tables();
}

template <class S>
typename TransformerTrainer<S>::Numbers TransformerTrainer<S>::numbers(
    const golden::WeightSource& source) const {
  return {Weights<A>(parts_->config, source), LearnedArrays<A>(parts_->config, source, queue_)};
}

// ------------------------------------------------------------------------------------------------
// what is trained

template <class S>
void TransformerTrainer<S>::list_trained() {
  trained_.clear();
  const auto stored = flatten<const S>(parts_->weights);
  const auto master = flatten<const A>(master_.weights);
  const auto first = flatten<const A>(first_.weights), second = flatten<const A>(second_.weights);
  const auto gradient = flatten<A>(*gradients_);
  ASSAY_CHECK(stored.size() == gradient.size(),
              fmt::format("{} weights, {} gradients", stored.size(), gradient.size()));
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const auto [data, shape] = stored[i].values;
    const auto writable = [shape = shape](Weights<A>& weights, const A* array) {
      return View<A, 1>{weights.writable(array), shape};
    };
    trained_.push_back({.stored = {parts_->weights.writable(data), shape},
                        .state = {writable(master_.weights, master[i].values.data),
                                  writable(first_.weights, first[i].values.data),
                                  writable(second_.weights, second[i].values.data)},
                        .gradient = gradient[i].values,
                        .decays = stored[i].matrix});
  }
  for (std::size_t i = 0; i < master_.learned.all().size(); ++i) {
    const auto& array = master_.learned.all()[i];
    trained_.push_back(
        {.stored = {},
         .state = {array.values, first_.learned.all()[i].values, second_.learned.all()[i].values},
         .gradient = learned_gradients_.all()[i].values,
         .decays = array.matrix});
  }
}

template <class S>
void TransformerTrainer<S>::fill_norm_tables() {
  std::vector<const A*> arrays;
  std::vector<int64_t> sizes;
  for (const Trained& trained : trained_) {
    const auto [data, shape] = trained.gradient;
    for (int64_t first = 0; first < shape[0]; first += kNormPiece) {
      arrays.push_back(data + first);
      sizes.push_back(std::min(kNormPiece, shape[0] - first));
    }
  }
  norm_arrays_ = simt::Buffer<const A*>(arrays);
  norm_sizes_ = simt::Buffer<int64_t>(sizes);
  norm_parts_ = simt::Buffer<A>(arrays.size() * static_cast<std::size_t>(kNormSlices));
}

// ------------------------------------------------------------------------------------------------
// a step

template <class S>
void TransformerTrainer<S>::clear() {
  gradients_ = &backward_.clear();
  report_.zero(queue_);
  counted_ = divisor_ = 0;
}

template <class S>
void TransformerTrainer<S>::accumulate(const Batch& batch) {
  check_batch(parts_->config, batch);
  const int64_t counted = counted_labels(batch);
  if (counted == 0) return;
  if (divisor_ == 0) divisor_ = counted;
  pass_.run(batch, nullptr, true);
  // A pass forms the gradient of its mean loss, the sum divided by what it counts itself.
  const double own = static_cast<double>(counted);
  backward_.add_gradients(progress_.loss_scale * own / static_cast<double>(divisor_));
  cuda::accumulate(View<A, 2>{report_.get(), {1, 1}}, backward_.loss().as({1, 1}), own, queue_);
  counted_ += counted;
}

template <class S>
StepReport TransformerTrainer<S>::step(double learning_rate) {
  if (!(learning_rate >= 0) || !std::isfinite(learning_rate)) {
    throw InputError(
        fmt::format("trainer: learning_rate: expected 0 or more, got {}", learning_rate));
  }
  if (counted_ == 0) {
    throw InputError("trainer: step: expected a counted position since the last step, got none");
  }
  const double counted = static_cast<double>(counted_);
  const double scale = static_cast<double>(divisor_) / (progress_.loss_scale * counted);
  form_learned_gradients();
  const auto pieces = static_cast<int64_t>(norm_arrays_.size());
  global_norm<A>({report_.get() + 1, {1}}, {norm_parts_.get(), {pieces, kNormSlices}},
                 norm_arrays_.get(), norm_sizes_.get(), pieces, queue_);
  update(learning_rate, scale);
  A report[2];
  simt::copy_out(report, report_.get(), sizeof report, queue_);
  const A norm = report[1] * static_cast<A>(scale);  // as adamw has it
  const bool skipped = !(norm < std::numeric_limits<A>::infinity());
  close_step(skipped);
  return {static_cast<double>(report[0]) / counted, static_cast<double>(norm), skipped};
}

template <class S>
void TransformerTrainer<S>::form_learned_gradients() {
  if (learned_gradients_.all().empty()) return;
  for (int64_t l = 0; l < parts_->config.num_hidden_layers; ++l) {
    learned_gradients_.write(
        l, learned_gradients<S>(gradients_->layers[static_cast<std::size_t>(l)], l, parts_->mix,
                                parts_->score_coefficients, queue_));
  }
}

template <class S>
void TransformerTrainer<S>::update(double learning_rate, double gradient_scale) {
  AdamwStep step{.learning_rate = learning_rate,
                 .beta1 = options_.beta1,
                 .beta2 = options_.beta2,
                 .eps = options_.eps,
                 .step = progress_.steps + 1,
                 .gradient_scale = gradient_scale,
                 .max_norm = options_.max_norm > 0 ? options_.max_norm
                                                   : std::numeric_limits<double>::infinity()};
  for (const Trained& trained : trained_) {
    step.weight_decay = trained.decays ? options_.weight_decay : 0;
    adamw<S>(trained.stored, trained.state, trained.gradient, {report_.get() + 1, {1}}, step,
             queue_);
  }
}

template <class S>
void TransformerTrainer<S>::close_step(bool skipped) {
  clear();
  if (skipped) {
    progress_.good_steps = 0;
    if (scales_loss_) progress_.loss_scale /= 2;
    return;
  }
  ++progress_.steps;
  if (++progress_.good_steps == kGoodStepsToDouble) {
    progress_.good_steps = 0;
    if (scales_loss_) progress_.loss_scale *= 2;
  }
  if (parts_->stacked != nullptr) parts_->stacked->form(parts_->weights, queue_);
  if (master_.learned.all().empty()) return;
  parts_->score_coefficients.form(master_.learned, queue_);
  parts_->mix.form(parts_->config, master_.learned, queue_);
}

// ------------------------------------------------------------------------------------------------
// the state

template <class S>
void TransformerTrainer<S>::hand_over_all(const Numbers& numbers,
                                          const ReceiveTensor& receive) const {
  const auto learned = [&](int64_t l) { return numbers.learned.of(l); };
  hand_over(numbers.weights, parts_->config, learned, queue_, receive);
}

template <class S>
void TransformerTrainer<S>::read_weights(const ReceiveTensor& receive) const {
  hand_over_all(master_, receive);
}

template <class S>
void TransformerTrainer<S>::read_moments(const ReceiveTensor& first,
                                         const ReceiveTensor& second) const {
  hand_over_all(first_, first);
  hand_over_all(second_, second);
}

template <class S>
void TransformerTrainer<S>::restore(const Progress& progress, const golden::WeightSource& first,
                                    const golden::WeightSource& second) {
  first_ = numbers(first);
  second_ = numbers(second);
  progress_ = progress;
  clear();
  list_trained();
}

#define ASSAY_INSTANTIATE(S) template class TransformerTrainer<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
