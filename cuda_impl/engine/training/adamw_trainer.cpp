#include "cuda_impl/engine/training/adamw_trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cuda_impl/engine/memory/batch.h"
#include "cuda_impl/engine/training/trained_mean_field.h"
#include "cuda_impl/engine/training/trained_transformer.h"
#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int64_t kGoodStepsToDouble = 2000;
// The norm takes gradients in pieces of so many, each in so many slices: a warp has the same work
// in small and in large weights.
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
  expect("dropout", options.dropout, options.dropout >= 0 && options.dropout < 1,
         "0 or more and less than 1");
  expect("loss_scale", options.loss_scale, options.loss_scale > 0, "a positive number");
  return options;
}

}  // namespace

template <class Subject>
AdamwTrainer<Subject>::AdamwTrainer(const golden::ModelConfig& config, golden::Precision precision,
                                    const golden::WeightSource& weights,
                                    const TrainingOptions& options)
    : options_(checked(options)),
      subject_(config, precision, weights, options),
      queue_(subject_.queue()),
      master_(subject_.numbers(weights)),
      first_(subject_.numbers(Zeros())),
      second_(subject_.numbers(Zeros())),
      scales_loss_(precision == golden::Precision::fp16),
      progress_{.loss_scale = scales_loss_ ? options.loss_scale : 1},
      report_(2) {
  clear();
  list_trained();
  fill_norm_tables();
}

// ------------------------------------------------------------------------------------------------
// what is trained

template <class Subject>
void AdamwTrainer<Subject>::list_trained() {
  trained_.clear();
  const auto stored = subject_.stored();
  const auto master = subject_.arrays(master_);
  const auto first = subject_.arrays(first_), second = subject_.arrays(second_);
  ASSAY_CHECK(stored.size() == gradients_.size() && master.size() == gradients_.size(),
              fmt::format("{} stored, {} masters, {} gradients", stored.size(), master.size(),
                          gradients_.size()));
  for (std::size_t i = 0; i < master.size(); ++i) {
    trained_.push_back({.stored = stored[i].values,
                        .state = {master[i].values, first[i].values, second[i].values},
                        .gradient = gradients_[i].values,
                        .decays = master[i].matrix});
  }
}

template <class Subject>
void AdamwTrainer<Subject>::fill_norm_tables() {
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

template <class Subject>
void AdamwTrainer<Subject>::clear() {
  gradients_ = subject_.clear_gradients();
  report_.zero(queue_);
  counted_ = divisor_ = rows_ = 0;
}

template <class Subject>
void AdamwTrainer<Subject>::accumulate(const Batch& batch) {
  check_batch(subject_.config(), batch);
  const int64_t counted = counted_labels(batch, subject_.label_shift()), first_row = rows_;
  rows_ += batch.batch;
  if (counted == 0) return;
  if (divisor_ == 0) divisor_ = counted;
  // A pass forms the gradient of its mean loss, the sum divided by what it counts itself.
  const double own = static_cast<double>(counted);
  subject_.add_gradients(batch, progress_.loss_scale * own / static_cast<double>(divisor_),
                         {.rate = options_.dropout,
                          .seed = options_.dropout_seed,
                          .step = progress_.steps + 1,
                          .first_row = first_row});
  cuda::accumulate(View<A, 2>{report_.get(), {1, 1}}, subject_.loss().as({1, 1}), own, queue_);
  counted_ += counted;
}

template <class Subject>
StepReport AdamwTrainer<Subject>::step(double learning_rate) {
  if (!(learning_rate >= 0) || !std::isfinite(learning_rate)) {
    throw InputError(
        fmt::format("trainer: learning_rate: expected 0 or more, got {}", learning_rate));
  }
  if (counted_ == 0) {
    throw InputError("trainer: step: expected a counted position since the last step, got none");
  }
  const double counted = static_cast<double>(counted_);
  const double scale = gradient_scale();
  subject_.form_gradients();
  const auto pieces = static_cast<int64_t>(norm_arrays_.size());
  global_norm<A>({report_.get() + 1, {1}}, {norm_parts_.get(), {pieces, kNormSlices}},
                 norm_arrays_.get(), norm_sizes_.get(), pieces, queue_);
  update(learning_rate, scale);
  A report[2];
  simt::copy_out(report, report_.get(), sizeof report, queue_);
  const A norm = report[1] * static_cast<A>(scale);  // as adamw has it
  const bool skipped = !(norm < std::numeric_limits<A>::infinity());
  step_epilogue(skipped);
  return {static_cast<double>(report[0]) / counted, static_cast<double>(norm), skipped};
}

template <class Subject>
double AdamwTrainer<Subject>::gradient_scale() const {
  return static_cast<double>(divisor_) / (progress_.loss_scale * static_cast<double>(counted_));
}

template <class Subject>
void AdamwTrainer<Subject>::update(double learning_rate, double gradient_scale) {
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

template <class Subject>
void AdamwTrainer<Subject>::step_epilogue(bool skipped) {
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
  subject_.follow(master_);
}

// ------------------------------------------------------------------------------------------------
// the state

template <class Subject>
void AdamwTrainer<Subject>::read_gradients(const ReceiveTensor& receive) const {
  const double scale = counted_ == 0 ? 0 : gradient_scale();
  subject_.read_gradients([&](const std::string& name, golden::TensorView sum) {
    std::vector<double> gradient(sum.values.begin(), sum.values.end());
    for (double& value : gradient) value *= scale;
    receive(name, {sum.shape, gradient});
  });
}

template <class Subject>
void AdamwTrainer<Subject>::read_weights(const ReceiveTensor& receive) const {
  subject_.read_back(master_, receive);
}

template <class Subject>
void AdamwTrainer<Subject>::read_moments(const ReceiveTensor& first,
                                         const ReceiveTensor& second) const {
  subject_.read_back(first_, first);
  subject_.read_back(second_, second);
}

template <class Subject>
void AdamwTrainer<Subject>::restore(const Progress& progress, const golden::WeightSource& first,
                                    const golden::WeightSource& second) {
  first_ = subject_.numbers(first);
  second_ = subject_.numbers(second);
  progress_ = progress;
  clear();
  list_trained();
}

#define ASSAY_INSTANTIATE(S)                          \
  template class AdamwTrainer<TrainedTransformer<S>>; \
  template class AdamwTrainer<TrainedMeanField<S>>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
