#include "cuda_impl/engine/blocks/stacked_backward.h"

#include <algorithm>

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
StackedBackward<S>::StackedBackward(std::shared_ptr<const Parts<S>> parts,
                                    StackedRecompute<S>& recompute)
    : parts_(std::move(parts)),
      config_(parts_->config),
      weights_(*parts_->stacked),
      recompute_(recompute),
      queue_(parts_->queue) {}

// ------------------------------------------------------------------------------------------------
// memory

template <class S>
void StackedBackward<S>::plan(int64_t B, int64_t T) {
  B_ = B;
  T_ = T;
  arena_.plan([this](Carver& carver) { carve(carver); });
}

template <class S>
void StackedBackward<S>::carve(Carver& carver) {
  const golden::ModelConfig& c = config_;
  const int64_t D = c.hidden_size, F = c.intermediate_size, G = recompute_.group_layers();
  const int64_t H = c.num_attention_heads, Q = H * c.head_dim, J = c.num_hidden_layers - 1;
  const bool mlps = parts_->method.recomputes_mlp();
  const int64_t mlp_rows = mlps ? G * N() : 0;
  const int64_t normed = mlps ? G : 1;  // layers whose norms go at once
  const int64_t term_rows = learned() ? G * N() : 0;
  d_folded_ = carver.view<A>({J * KV(), D});
  d_folded_bias_ = carver.view<A>({J * KV()});
  d_normalised_ = carver.view<A>({N(), D});
  d_x_ = carver.view<A>({N(), D});
  unused_ = carver.view<A>({2, D});
  e_ = carver.view<S>({learned() ? term_rows : N(), D});
  terms_ = carver.view<S>({term_rows, D});
  d_act_ = carver.view<S>({mlp_rows, F});
  d_z_ = carver.view<A>({mlp_rows, D});
  d_sum_ = carver.view<A>({mlp_rows, D});
  d_context_ = carver.view<S>({G * N(), Q});
  delta_ = carver.view<A>({G * B_, H, T_});
  d_v_ = carver.view<A>({B_, c.num_key_value_heads, T_, c.head_dim});
  wide_d_v_ = carver.view<S>({N(), G * KV()});
  statistics_ = carver.view<A>({2, normed * N()});
  norm_parts_ = carver.view<A>({2 * normed * row_chunks(N()), D});
  bias_parts_ = carver.view<A>({row_chunks(N()), std::max({D, F, G * KV()})});
  row_parts_ = carver.view<A>({N()});
}

// ------------------------------------------------------------------------------------------------
// over all layers

template <class S>
void StackedBackward<S>::clear() {
  const auto zero = [this](A* data, int64_t count) {
    simt::device_zero(data, static_cast<std::size_t>(count) * sizeof(A), queue_);
  };
  zero(d_folded_.data, d_folded_.shape[0] * d_folded_.shape[1]);
  zero(d_folded_bias_.data, d_folded_bias_.shape[0]);
}

template <class S>
void StackedBackward<S>::add(const WeightGradients<A>& gradients, const Input& input) {
  recompute_.for_groups(input.forward, [&](const Group& group) {
    mix(gradients, input, group);
    weigh(input, group);
    if (parts_->method.recomputes_mlp()) run_mlps(gradients, input, group);
    const S* e = parts_->method.recomputes_mlp() ? recompute_.arrays().mlp_norm.data : e_.data;
    const int64_t stride = parts_->method.recomputes_mlp() ? N() * config_.hidden_size : e_stride();
    affine(gradients, &LayerGradients<A>::wo, e, stride, recompute_.arrays().context.data, group);
    back(d_context_.data, e, stride, first_layer().wo, group, false);
    attend(input, group);
    form_values(input, group);
  });
  normalise(input);
}

template <class S>
void StackedBackward<S>::epilogue(const WeightGradients<A>& gradients) {
  const int64_t D = config_.hidden_size, M = KV();
  for (int64_t j = 0; j < config_.num_hidden_layers - 1; ++j) {
    const LayerWeights<S>& w = parts_->weights.layers[static_cast<std::size_t>(j)];
    const LayerGradients<A>& g = gradients.layers[static_cast<std::size_t>(j)];
    const Norm<S> norm = pre_norm() ? w.attn_norm : Norm<S>{};
    const View<const A, 1> d_bias{d_folded_bias_.data + j * M, {M}};
    fold_norm_backward<S>(g.wv.weight, g.attn_norm.gain, g.attn_norm.bias,
                          {d_folded_.data + j * M * D, {M, D}}, d_bias, w.wv.weight, norm.gain,
                          norm.bias, queue_);
    if (g.wv.bias.data == nullptr) continue;
    accumulate<A>({g.wv.bias.data, {1, M}}, {d_bias.data, {1, M}}, 1.0, queue_);
  }
}

// ------------------------------------------------------------------------------------------------
// of a group

template <class S>
void StackedBackward<S>::mix(const WeightGradients<A>& gradients, const Input& input,
                             const Group& group) {
  if (!learned()) return;
  const int64_t D = config_.hidden_size;
  recompute_.form_terms(terms_.data, group);
  A* d_mix = gradients.layers[static_cast<std::size_t>(input.forward.l)].mix.data + group.first;
  for (int64_t j = 0; j < group.count; ++j) {
    inner_product<S>(View<A, 1>{d_mix + j, {1}}, row_parts_, input.d,
                     {terms_.data + j * N() * D, {N(), D}}, queue_);
  }
}

template <class S>
void StackedBackward<S>::weigh(const Input& input, const Group& group) {
  const int64_t D = config_.hidden_size;
  for (int64_t j = 0; j < (learned() ? group.count : 1); ++j) {
    scaled<S>({e_.data + j * N() * D, {N(), D}}, input.d,
              parts_->mix.weight(input.forward.l, group.first + j), queue_);
  }
}

// To e_j = d o_j, which takes the place of the MLP's input.
template <class S>
void StackedBackward<S>::run_mlps(const WeightGradients<A>& gradients, const Input& input,
                                  const Group& group) {
  const typename StackedRecompute<S>::Arrays& x = recompute_.arrays();
  const LayerWeights<S>& w = first_layer();
  const int64_t F = config_.intermediate_size, rows = group.count * N(), stride = N() * F;
  affine(gradients, &LayerGradients<A>::w_down, e_.data, e_stride(), x.act.data, group);
  back(d_act_.data, e_.data, e_stride(), w.w_down, group, false);
  const View<S, 2> d_act{d_act_.data, {rows, F}},
      d_gate{x.act.data, {rows, F}};  // act has been read
  const View<const A, 2> gate{x.gate.data, {rows, F}}, up{x.up.data, {rows, F}};
  if (llama()) {
    swiglu_backward<S, A>(d_gate, d_act, d_act, gate, up, queue_);
    affine(gradients, &LayerGradients<A>::w_gate, d_gate.data, stride, x.mlp_norm.data, group);
    back(d_z_.data, d_gate.data, stride, w.w_gate, group, false);
  } else {
    const bool with_tanh = config_.activation == golden::Activation::gelu_new;
    gelu_backward<S, A>(d_act, d_act, up, with_tanh, queue_);
  }
  affine(gradients, &LayerGradients<A>::w_up, d_act.data, stride, x.mlp_norm.data, group);
  back(d_z_.data, d_act.data, stride, w.w_up, group, llama());
  mlp_norms(gradients, input, group);
}

template <class S>
void StackedBackward<S>::mlp_norms(const WeightGradients<A>& gradients, const Input& input,
                                   const Group& group) {
  const typename StackedRecompute<S>::Arrays& x = recompute_.arrays();
  const auto first = static_cast<std::size_t>(group.first);
  const LayerWeights<S>& w = parts_->weights.layers[first];
  const LayerGradients<A>& g = gradients.layers[first];
  const Norm<S>& by = pre_norm() ? w.mlp_norm : w.attn_norm;
  const NormGradient<A>& into = pre_norm() ? g.mlp_norm : g.attn_norm;
  const int64_t D = config_.hidden_size, rows = group.count * N();
  const int64_t parts = group.count * row_chunks(N());
  const NormLayers layers{.layers = group.count,
                          .weights = weights_.layer_stride(),
                          .gradients = group.count > 1 ? layer_stride(gradients.layers) : 0};
  const View<A, 2> d_sum{d_sum_.data, {rows, D}};
  const View<const A, 2> d_z{d_z_.data, {rows, D}};
  const View<const S, 2> addend{x.attn_out.data, {rows, D}};
  if (llama()) {
    const NormScratch<A> scratch{{statistics_.data, {1, rows}}, {norm_parts_.data, {parts, D}}};
    rms_norm_backward<S, A>(d_sum, into.gain, scratch, d_z, input.forward.x, addend, by.gain,
                            config_.rms_norm_eps, true, queue_, layers);
  } else {
    const NormScratch<A> scratch{{statistics_.data, {2, rows}}, {norm_parts_.data, {2 * parts, D}}};
    layer_norm_backward<S, A>(d_sum, into.gain, into.bias, scratch, d_z, input.forward.x, addend,
                              by.gain, config_.layer_norm_eps, true, queue_, layers);
  }
  for (int64_t j = 0; j < group.count; ++j) {
    accumulate<A>(input.d_stream, {d_sum.data + j * N() * D, {N(), D}}, 1.0, queue_);
  }
  scaled<S>({x.mlp_norm.data, {rows, D}}, d_sum, 1.0, queue_);
}

// From d context to d v of the group's layers, side by side.
template <class S>
void StackedBackward<S>::attend(const Input& input, const Group& group) {
  const auto [B, H, T] = input.forward.lse.shape;
  const int64_t Hkv = config_.num_key_value_heads, Dh = config_.head_dim, Q = H * Dh;
  const int64_t batches = group.count * B;
  attention_delta<S>({delta_.data, {batches, H, T}},
                     {recompute_.arrays().context.data, {batches, T, Q}},
                     {d_context_.data, {batches, T, Q}}, queue_);
  for (int64_t j = 0; j < group.count; ++j) {
    const int64_t layer = group.first + j, rows = B * H * T;
    const AttentionBackwardArguments<S> arguments{
        .scores = scores_of_layer(config_, input.forward.scores, layer),
        .lse = {input.forward.lse.data + layer * rows, {B, H, T}},
        .v = {recompute_.arrays().v.data + j * N() * KV(), {B, Hkv, T, Dh}},
        .dcontext = {d_context_.data + j * N() * Q, {B, T, Q}},
        .delta = {delta_.data + j * rows, {B, H, T}}};
    ScoreGradients<A> into;
    if (input.d_q != nullptr) {
      into.dq = input.d_q + layer;
      into.dk = input.d_k + layer;
    }
    attention_backward<S>(d_v_, into, arguments, queue_);
    merge_heads<S>({wide_d_v_.data + j * KV(), {B, T, KV()}}, d_v_, queue_, group.count * KV());
  }
}

// From d v to d n, and to the gradients with respect to the folded weights.
template <class S>
void StackedBackward<S>::form_values(const Input& input, const Group& group) {
  const int64_t M = group.count * KV(), D = config_.hidden_size, before = group.first * KV();
  const View<const S, 2> n = pre_norm() ? recompute_.arrays().normalised : input.forward.x;
  const View<const S, 2> d_v{wide_d_v_.data, {N(), M}};
  const Affine<S> by = weights_.v(group.first, group.count);
  gemm_nn<S>(d_normalised_, d_v, by.weight, group.first > 0, queue_, parts_->operands);
  gemm_tn<S>({d_folded_.data + before * D, {M, D}}, d_v, n, true, queue_, parts_->operands);
  if (by.bias.data == nullptr) return;
  column_sum<S>({d_folded_bias_.data + before, {M}}, {bias_parts_.data, {row_chunks(N()), M}}, d_v,
                true, queue_);
}

template <class S>
void StackedBackward<S>::normalise(const Input& input) {
  if (!pre_norm()) {
    accumulate<A>(input.d_stream, d_normalised_, 1.0, queue_);
    return;
  }
  const int64_t D = config_.hidden_size, C = row_chunks(N());
  const View<const S, 1> gain = weights_.unit().gain;
  const View<A, 1> d_gain{unused_.data, {D}}, d_bias{unused_.data + D, {D}};
  if (llama()) {
    const NormScratch<A> scratch{{statistics_.data, {1, N()}}, {norm_parts_.data, {C, D}}};
    rms_norm_backward<S, A>(d_x_, d_gain, scratch, d_normalised_, input.forward.x, {}, gain,
                            config_.rms_norm_eps, false, queue_);
  } else {
    const NormScratch<A> scratch{{statistics_.data, {2, N()}}, {norm_parts_.data, {2 * C, D}}};
    layer_norm_backward<S, A>(d_x_, d_gain, d_bias, scratch, d_normalised_, input.forward.x, {},
                              gain, config_.layer_norm_eps, false, queue_);
  }
  accumulate<A>(input.d_stream, d_x_, 1.0, queue_);
}

// ------------------------------------------------------------------------------------------------
// stacks of gemms

template <class S>
template <class Out>
void StackedBackward<S>::back(Out* dx, const S* dy, int64_t dy_stride, const Affine<S>& by,
                              const Group& group, bool accumulate) {
  const auto [M, K] = by.weight.shape;
  const int64_t stride = weights_.layer_stride();
  gemm_nn<S>(View<Out, 2>{dx, {N(), K}}, {dy, {N(), M}},
             {by.weight.data + group.first * stride, {M, K}}, accumulate, queue_, parts_->operands,
             {.count = group.count, .out = N() * K, .dy = dy_stride, .factor = stride});
}

template <class S>
void StackedBackward<S>::affine(const WeightGradients<A>& gradients, Affines weight, const S* dy,
                                int64_t dy_stride, const S* x, const Group& group) {
  const auto of = [&](int64_t j) -> const AffineGradient<A>& {
    return gradients.layers[static_cast<std::size_t>(group.first + j)].*weight;
  };
  const auto [M, K] = of(0).weight.shape;
  gemm_tn<S>(of(0).weight, {dy, {N(), M}}, {x, {N(), K}}, true, queue_, parts_->operands,
             {.count = group.count,
              .out = group.count > 1 ? layer_stride(gradients.layers) : 0,
              .dy = dy_stride,
              .factor = N() * K});
  if (of(0).bias.data == nullptr) return;
  for (int64_t j = 0; j < group.count; ++j) {
    column_sum<S>(of(j).bias, {bias_parts_.data, {row_chunks(N()), M}},
                  {dy + j * dy_stride, {N(), M}}, true, queue_);
  }
}

#define ASSAY_INSTANTIATE(S) template class StackedBackward<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
