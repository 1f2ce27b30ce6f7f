#include "cuda_impl/engine/weights/stacked_weights.h"

#include "cuda_impl/engine/memory/arena.h"
#include "cuda_impl/engine/memory/convert.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
template <class S>
StackedWeights<S>::StackedWeights(const golden::ModelConfig& c, const Method& method,
                                  const Weights<S>& weights, Stream stream)
    : folds_(c.norm == golden::NormPosition::pre),
      of_mlps_(method.recomputes_mlp()),
      K_(of_mlps_ ? c.intermediate_size : c.num_attention_heads * c.head_dim),
      layer_stride_(cuda::layer_stride(weights.layers)) {
  const int64_t J = c.num_hidden_layers - 1, D = c.hidden_size;
  const int64_t rows = J * c.num_key_value_heads * c.head_dim;
  const bool biased = weights.layers[0].wv.bias.data != nullptr;
  View<S, 1> ones, zeros;
  const auto carve = [&](Carver& carver) {
    v_ = carver.view<S>({rows, D});
    out_ = carver.view<S>({D, J * K_});
    ones = carver.view<S>({D});
    zeros = carver.view<S>({D});
    v_bias_ = {carver.take<S>(biased ? rows : 0), {rows}};
  };
  Carver measure(nullptr);
  carve(measure);
  memory_ = simt::Buffer<S>((measure.used() + sizeof(S) - 1) / sizeof(S));
  Carver carver(reinterpret_cast<std::byte*>(memory_.get()));
  carve(carver);
  if (!biased) v_bias_.data = nullptr;
  unit_ = {ones, zeros};
  const std::vector<S> one(static_cast<std::size_t>(D), narrow<S>(1.0)),
      zero(static_cast<std::size_t>(D), narrow<S>(0.0));
  simt::copy_in(ones.data, one.data(), one.size() * sizeof(S), stream);
  simt::copy_in(zeros.data, zero.data(), zero.size() * sizeof(S), stream);
  form(weights, stream);
}

template <class S>
void StackedWeights<S>::form(const Weights<S>& weights, Stream stream) {
  const int64_t J = out_row() / K_, D = v_.shape[1], rows = v_.shape[0] / J;
  for (int64_t j = 0; j < J; ++j) {
    const LayerWeights<S>& w = weights.layers[static_cast<std::size_t>(j)];
    const View<S, 1> bias{v_bias_.data == nullptr ? nullptr : v_bias_.data + j * rows, {rows}};
    fold_norm<S>({v_.data + j * rows * D, {rows, D}}, D, bias, w.wv.weight,
                 folds_ ? w.attn_norm.gain : View<const S, 1>{},
                 folds_ ? w.attn_norm.bias : View<const S, 1>{}, w.wv.bias, stream);
    fold_norm<S>({out_.data + j * K_, {D, K_}}, out_row(), {},
                 of_mlps_ ? w.w_down.weight : w.wo.weight, {}, {}, {}, stream);
  }
}

template <class S>
Affine<S> StackedWeights<S>::v(int64_t first, int64_t count) const {
  const int64_t D = v_.shape[1], rows = v_.shape[0] / (out_.shape[1] / K_);  // of a layer
  Affine<S> result{{v_.data + first * rows * D, {count * rows, D}}, {}};
  if (v_bias_.data != nullptr) result.bias = {v_bias_.data + first * rows, {count * rows}};
  return result;
}

template <class S>
View<const S, 2> StackedWeights<S>::out(int64_t first, int64_t count) const {
  return {out_.data + first * K_, {out_.shape[0], count * K_}};
}

#define ASSAY_INSTANTIATE(S) template class StackedWeights<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
