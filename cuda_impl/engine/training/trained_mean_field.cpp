#include "cuda_impl/engine/training/trained_mean_field.h"

#include <fmt/format.h>

#include "cuda_impl/engine/weights/read_back.h"
#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

template <class T>
std::vector<FlatArray<T>> flatten(const FactorArrays<T>& arrays,
                                  const golden::ModelConfig& config) {
  std::vector<FlatArray<T>> all;
  for_each_array(arrays, config,
                 [&](const std::string&, const View<T, 2>& view) { all.push_back(flat(view)); });
  return all;
}

}  // namespace

template <class S>
TrainedMeanField<S>::TrainedMeanField(const golden::ModelConfig& config,
                                      golden::Precision precision,
                                      const golden::WeightSource& weights,
                                      const TrainingOptions& options)
    : parts_(std::make_shared<MeanFieldParts<S>>(config, precision, weights)),
      pass_(parts_),
      backward_(pass_) {
  if (options.dropout > 0) {
    throw InputError(fmt::format(
        "trainer: dropout: method pt has no residual branches: expected 0 with it, got {}",
        options.dropout));
  }
}

template <class S>
std::vector<FlatArray<accum_t<S>>> TrainedMeanField<S>::arrays(Numbers& numbers) const {
  return flatten<A>(numbers, config());
}

template <class S>
std::vector<FlatArray<S>> TrainedMeanField<S>::stored() const {
  return flatten<S>(parts_->weights, config());
}

template <class S>
std::vector<FlatArray<accum_t<S>>> TrainedMeanField<S>::clear_gradients() {
  gradients_ = &backward_.clear();
  return flatten<A>(*gradients_, config());
}

template <class S>
void TrainedMeanField<S>::add_gradients(const Batch& batch, double scale, const DropoutPlace&) {
  pass_.run(batch, nullptr, true);
  backward_.add_gradients(scale);
}

template <class S>
void TrainedMeanField<S>::read_gradients(const ReceiveTensor& receive) const {
  cuda::read_back<A>(*gradients_, config(), queue(), receive);
}

template <class S>
void TrainedMeanField<S>::read_back(const Numbers& numbers, const ReceiveTensor& receive) const {
  cuda::read_back<A>(numbers, config(), queue(), receive);
}

#define ASSAY_INSTANTIATE(S) template class TrainedMeanField<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
