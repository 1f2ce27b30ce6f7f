// The parts that the backward passes of both sites and of recomputes are made of.
#include "cuda_impl/engine/blocks/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
void Backward<S>::mlp(const LayerWeights<S>& w, LayerGradients<A>& g, View<const S, 2> input,
                      View<S, 2> out) {
  Buffers<S>& buf = pass_.buffers_;
  const bool with_tanh = pass_.config_.activation == golden::Activation::gelu_new;
  pass_.linear(buf.up, input, w.w_up);
  if (pass_.llama()) {
    pass_.linear(buf.gate, input, w.w_gate);
    swiglu<S, S>(buf.act, buf.gate, buf.up, pass_.queue_);
  } else {
    gelu<S, S>(buf.act, buf.up, with_tanh, pass_.queue_);
  }
  if (out.data != nullptr) pass_.linear(out, buf.act, w.w_down);

  const View<S, 2> d_act = scratch_.d_act;
  gemm_nn<S>(d_act, scratch_.rounded, w.w_down.weight, false, pass_.queue_, pass_.parts_->operands);
  affine(g.w_down, scratch_.rounded, buf.act);
  if (pass_.llama()) {
    const View<S, 2> d_gate = buf.act, d_up = d_act;  // act has been read
    swiglu_backward<S, S>(d_gate, d_up, d_act, buf.gate, buf.up, pass_.queue_);
    affine(g.w_gate, d_gate, input);
    gemm_nn<S>(scratch_.d_norm, d_gate, w.w_gate.weight, false, pass_.queue_,
               pass_.parts_->operands);
  } else {
    gelu_backward<S, S>(d_act, d_act, buf.up, with_tanh, pass_.queue_);
  }
  affine(g.w_up, d_act, input);
  gemm_nn<S>(scratch_.d_norm, d_act, w.w_up.weight, pass_.llama(), pass_.queue_,
             pass_.parts_->operands);
}

template <class S>
void Backward<S>::attend(int64_t l, const Affine<S>& wo, AffineGradient<A>& g, View<const S, 4> v,
                         View<const S, 3> context, bool own) {
  const auto [B, T, HDh] = context.shape;
  affine(g, scratch_.rounded, context.as({B * T, HDh}));
  gemm_nn<S>(scratch_.d_context.as({B * T, HDh}), scratch_.rounded, wo.weight, false, pass_.queue_,
             pass_.parts_->operands);
  attention_delta<S>(scratch_.delta, context, scratch_.d_context, pass_.queue_);

  const AttentionBackwardArguments<S> arguments{
      .scores = own ? pass_.scores_of(l) : pass_.stored_scores_of(l),
      .lse = own ? at(pass_.buffers_.lse, l) : pass_.stored_lse_of(l),
      .v = v,
      .dcontext = scratch_.d_context,
      .delta = scratch_.delta};
  ScoreGradients<A> into;
  if (own || !pass_.method_.detach_stored) {
    const int64_t first = pass_.method_.all_layers_score ? 0 : l;
    into.dq = scratch_.d_q_table + first;
    into.dk = scratch_.d_k_table + first;
  }
  const View<A, 1> coefficients = gradients_of(l).coefficients;
  const bool by_layer = pass_.method_.family == golden::Family::score_accumulation;
  if (own && by_layer) {
    const auto [L, B2, H, parts] = scratch_.coefficient_parts.shape;
    into.dcoefficients = coefficients;
    into.coefficient_parts = {scratch_.coefficient_parts.data, {l + 1, B2, H, parts}};
  }
  attention_backward<S>(scratch_.d_v, into, arguments, pass_.queue_);
  if (own && pass_.method_.gated_scores) {
    zero(scratch_.d_factors);
    coefficient_gradient<S>(scratch_.d_factors.data, arguments, pass_.queue_);
  } else if (own && coefficients.data != nullptr && !by_layer) {
    coefficient_gradient<S>(coefficients.data, arguments, pass_.queue_);
  }
}

template <class S>
void Backward<S>::project(View<const A, 4> d_heads, bool rotated, const Affine<S>& w,
                          AffineGradient<A>& g, View<const S, 2> input, bool add) {
  const auto [B, H, T, Dh] = d_heads.shape;
  const View<S, 3> flat{scratch_.d_heads.data, {B, T, H * Dh}};
  if (rotated) {
    rope_backward<S>(flat, d_heads, pass_.buffers_.cosines, pass_.buffers_.sines, pass_.queue_);
  } else {
    merge_heads<S>(flat, d_heads, pass_.queue_);
  }
  affine(g, flat.as({B * T, H * Dh}), input);
  gemm_nn<S>(scratch_.d_norm, flat.as({B * T, H * Dh}), w.weight, add, pass_.queue_,
             pass_.parts_->operands);
}

template <class S>
void Backward<S>::project_scored(View<A, 4> d_heads, View<const S, 4> plain, const Norm<S>& by,
                                 NormGradient<A>& d_norm, const Affine<S>& w, AffineGradient<A>& g,
                                 View<const S, 2> input, bool add) {
  if (by.gain.data == nullptr) {
    project(d_heads, pass_.llama(), w, g, input, add);
    return;
  }
  const auto [B, H, T, Dh] = d_heads.shape;
  const int64_t rows = B * H * T;
  turn_heads(d_heads, View<const A, 4>(d_heads), pass_.buffers_.cosines, pass_.buffers_.sines,
             nullptr, true, pass_.queue_);
  const NormScratch<A> scratch{{scratch_.head_statistics.data, {1, rows}},
                               {scratch_.head_parts.data, {row_chunks(rows), Dh}}};
  const View<A, 4> d_proj{scratch_.d_proj.data, {B, H, T, Dh}};
  rms_norm_backward<S, A>(d_proj.as({rows, Dh}), d_norm.gain, scratch, d_heads.as({rows, Dh}),
                          plain.as({rows, Dh}), {}, by.gain, pass_.config_.rms_norm_eps, true,
                          pass_.queue_);
  project(d_proj, false, w, g, input, add);
}

template <class S>
void Backward<S>::norm(View<const A, 2> dy, View<const S, 2> x, View<const S, 2> addend,
                       const Norm<S>& w, NormGradient<A>& g) {
  const auto [N, D] = x.shape;
  const golden::ModelConfig& c = pass_.config_;
  const Stream queue = pass_.queue_;
  const View<A, 2> dx = scratch_.d_term;
  if (!pass_.llama()) {
    const NormScratch<A> scratch{scratch_.statistics, scratch_.norm_parts};
    layer_norm_backward<S, A>(dx, g.gain, g.bias, scratch, dy, x, addend, w.gain, c.layer_norm_eps,
                              true, queue);
    return;
  }
  const NormScratch<A> scratch{{scratch_.statistics.data, {1, N}},
                               {scratch_.norm_parts.data, {row_chunks(N), D}}};
  rms_norm_backward<S, A>(dx, g.gain, scratch, dy, x, addend, w.gain, c.rms_norm_eps, true, queue);
}

template <class S>
void Backward<S>::affine(AffineGradient<A>& g, View<const S, 2> dy, View<const S, 2> x) {
  gemm_tn<S>(g.weight, dy, x, true, pass_.queue_, pass_.parts_->operands);
  if (g.bias.data == nullptr) return;
  const View<A, 2> parts{scratch_.bias_parts.data, {row_chunks(dy.shape[0]), dy.shape[1]}};
  column_sum<S>(g.bias, parts, dy, true, pass_.queue_);
}

template <class S>
void Backward<S>::gate(int64_t l, View<const S, 2> h) {
  const GateWeights<S>& w = pass_.layer(l).gate;
  GateGradient<A>& g = gradients_of(l).gate;
  const auto [N, D] = h.shape;
  const auto [outputs, m] = w.w2.shape;
  const golden::ModelConfig& c = pass_.config_;
  const Stream queue = pass_.queue_;
  const GateGradientRows<A> rows{.dg = {scratch_.gate.dg.data, {N, outputs}},
                                 .inner = {scratch_.gate.inner.data, {N, m}},
                                 .dpre = {scratch_.gate.dpre.data, {N, m}},
                                 .z = scratch_.gate.z,
                                 .dz = scratch_.gate.dz};
  score_gate_backward<S>(rows, {scratch_.d_factors.data, {N, outputs}},
                         {pass_.buffers_.score_factors.data, {N, outputs}}, h, w, c.score_gate_eps,
                         queue);
  column_sum<A>(g.bias, {scratch_.bias_parts.data, {row_chunks(N), outputs}}, rows.dg, true, queue);
  gemm_tn<A>(g.w2, rows.dg, rows.inner, true, queue);
  gemm_tn<A>(g.w1, rows.dpre, rows.z, true, queue);
  const NormScratch<A> scratch{{scratch_.statistics.data, {1, N}},
                               {scratch_.norm_parts.data, {row_chunks(N), D}}};
  rms_norm_backward<S, A>(scratch_.d_term, g.norm, scratch, rows.dz, h, {}, w.norm,
                          c.score_gate_eps, true, queue);
  add_to(scratch_.d_norm, scratch_.d_term);
}

template <class S>
void Backward<S>::mix_gradient(int64_t l, int64_t term, View<const A, 2> d,
                               View<const S, 2> value) {
  const View<A, 1> dw{gradients_of(l).mix.data + term, {1}};
  inner_product<S>(dw, scratch_.row_parts, d, value, pass_.queue_);
}

template <class S>
void Backward<S>::round(View<const A, 2> x, double scale) {
  scaled<S>(scratch_.rounded, x, scale, pass_.queue_);
}

template <class S>
void Backward<S>::round_own(int64_t l, const char* branch, View<const A, 2> x, double scale) {
  if (!pass_.dropout_.drops()) return round(x, scale);
  dropout<S, A>(scratch_.rounded, x, scale, pass_.mask_of(l, branch), pass_.queue_);
}

#define ASSAY_INSTANTIATE(S)                                                                       \
  template void Backward<S>::mlp(const LayerWeights<S>&, LayerGradients<accum_t<S>>&,              \
                                 View<const S, 2>, View<S, 2>);                                    \
  template void Backward<S>::attend(int64_t, const Affine<S>&, AffineGradient<accum_t<S>>&,        \
                                    View<const S, 4>, View<const S, 3>, bool);                     \
  template void Backward<S>::project(View<const accum_t<S>, 4>, bool, const Affine<S>&,            \
                                     AffineGradient<accum_t<S>>&, View<const S, 2>, bool);         \
  template void Backward<S>::project_scored(View<accum_t<S>, 4>, View<const S, 4>, const Norm<S>&, \
                                            NormGradient<accum_t<S>>&, const Affine<S>&,           \
                                            AffineGradient<accum_t<S>>&, View<const S, 2>, bool);  \
  template void Backward<S>::norm(View<const accum_t<S>, 2>, View<const S, 2>, View<const S, 2>,   \
                                  const Norm<S>&, NormGradient<accum_t<S>>&);                      \
  template void Backward<S>::affine(AffineGradient<accum_t<S>>&, View<const S, 2>,                 \
                                    View<const S, 2>);                                             \
  template void Backward<S>::gate(int64_t, View<const S, 2>);                                      \
  template void Backward<S>::mix_gradient(int64_t, int64_t, View<const accum_t<S>, 2>,             \
                                          View<const S, 2>);                                       \
  template void Backward<S>::round(View<const accum_t<S>, 2>, double);                             \
  template void Backward<S>::round_own(int64_t, const char*, View<const accum_t<S>, 2>, double);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
