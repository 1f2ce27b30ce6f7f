#include "cuda_impl/engine/training/trained_transformer.h"

#include "cuda_impl/engine/weights/read_back.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

// In the order of for_each_array.
template <class S>
std::vector<FlatArray<S>> flatten(Weights<S>& weights) {
  std::vector<FlatArray<S>> all;
  for_each_array(weights, [&]<int R>(const View<const S, R>& view) {
    all.push_back(flat(View<S, R>{weights.writable(view.data), view.shape}));
  });
  return all;
}

template <class A>
void append_learned(std::vector<FlatArray<A>>& all, const LearnedArrays<A>& learned) {
  for (const auto& array : learned.all()) all.push_back({array.values, array.matrix});
}

}  // namespace

template <class S>
TrainedTransformer<S>::TrainedTransformer(const golden::ModelConfig& config,
                                          golden::Precision precision,
                                          const golden::WeightSource& weights,
                                          const TrainingOptions& options)
    : parts_(std::make_shared<Parts<S>>(config, precision, weights, options.model)),
      pass_(parts_),
      backward_(pass_),
      learned_gradients_(config, Zeros(), parts_->queue) {}

template <class S>
typename TrainedTransformer<S>::Numbers TrainedTransformer<S>::numbers(
    const golden::WeightSource& source) const {
  return {Weights<A>(config(), source), LearnedArrays<A>(config(), source, queue())};
}

template <class S>
std::vector<FlatArray<accum_t<S>>> TrainedTransformer<S>::arrays(Numbers& numbers) const {
  std::vector<FlatArray<A>> all = flatten(numbers.weights);
  append_learned(all, numbers.learned);
  return all;
}

template <class S>
std::vector<FlatArray<S>> TrainedTransformer<S>::stored() const {
  std::vector<FlatArray<S>> all = flatten(parts_->weights);
  for (const auto& array : learned_gradients_.all()) all.push_back({{}, array.matrix});
  return all;
}

template <class S>
std::vector<FlatArray<accum_t<S>>> TrainedTransformer<S>::clear_gradients() {
  gradients_ = &backward_.clear();
  std::vector<FlatArray<A>> all;
  for_each_array(*gradients_, [&](const auto& view) { all.push_back(flat(view)); });
  append_learned(all, learned_gradients_);
  return all;
}

template <class S>
void TrainedTransformer<S>::add_gradients(const Batch& batch, double scale,
                                          const DropoutPlace& dropout) {
  pass_.run(batch, nullptr, true, dropout);
  backward_.add_gradients(scale);
}

template <class S>
void TrainedTransformer<S>::form_gradients() {
  if (learned_gradients_.all().empty()) return;
  for (int64_t l = 0; l < config().num_hidden_layers; ++l) {
    learned_gradients_.write(
        l, learned_gradients<S>(gradients_->layers[static_cast<std::size_t>(l)], l, parts_->mix,
                                parts_->score_coefficients, queue()));
  }
}

template <class S>
void TrainedTransformer<S>::read_gradients(const ReceiveTensor& receive) const {
  read_out<S>(*gradients_, config(), parts_->mix, parts_->score_coefficients, queue(), receive);
}

template <class S>
void TrainedTransformer<S>::follow(const Numbers& master) {
  if (parts_->stacked != nullptr) parts_->stacked->form(parts_->weights, queue());
  if (master.learned.all().empty()) return;
  parts_->score_coefficients.form(master.learned, queue());
  parts_->mix.form(config(), master.learned, queue());
}

template <class S>
void TrainedTransformer<S>::read_back(const Numbers& numbers, const ReceiveTensor& receive) const {
  const auto learned = [&](int64_t l) { return numbers.learned.of(l); };
  cuda::read_back(numbers.weights, config(), learned, queue(), receive);
}

#define ASSAY_INSTANTIATE(S) template class TrainedTransformer<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
