// The recomputes of a forward pass: earlier layers, run again on the input of layer l.
#include "cuda_impl/engine/blocks/forward_pass.h"
#include "cuda_impl/kernels/attention/stored_attention.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
ScoreOperands<S> ForwardPass<S>::stored_scores_of(int64_t j) const {
  ScoreOperands<S> scores = scores_of(j);
  if (!buffers_.forms_again()) return scores;
  scores.q = buffers_.q_table + config_.num_hidden_layers;
  scores.k = buffers_.k_table + config_.num_hidden_layers;
  return scores;
}

// What stands alone in its arrays is layer L-1's.
template <class S>
void ForwardPass<S>::run_again(int64_t l) {
  if (parts_->options.keep == Keep::all || l + 1 == config_.num_hidden_layers) return;
  Taps taps(nullptr, list_, queue_);
  attend(l, taps);
  add_attention(l, taps);
  if (pre_norm()) return;
  run_mlp(l, taps);
  layer_epilogue(l, taps);
}

template <class S>
void ForwardPass<S>::form_scores_again(int64_t j) {
  Buffers<S>& buf = buffers_;
  if (!buf.forms_again()) return;
  const LayerWeights<S>& w = layer(j);
  const auto [B, H, T, Dh] = buf.again_q.shape;
  const int64_t Hkv = buf.again_k.shape[1];
  Taps taps(nullptr, list_, queue_);
  View<S, 2> input = stream(j);
  if (pre_norm()) {
    norm(buf.attn_norm, input, {}, w.attn_norm);
    input = buf.attn_norm;
  }
  const View<S, 4> plain_k{buf.again_proj.data, {B, Hkv, T, Dh}};
  project_scored(j, "attn/q", buf.again_proj, buf.again_q, input, w.wq, w.q_norm, taps);
  project_scored(j, "attn/k", plain_k, buf.again_k, input, w.wk, w.k_norm, taps);
  project_heads(buf.recompute_v, input, w.wv, false);
  attention(buf.recompute_context, buf.again_lse, stored_scores_of(j), buf.recompute_v, queue_);
}

// o_{j>l}: the attention of layer j once more, on X_l, with the probabilities of its own first
// pass.
//   v = attn_norm_j(X_l) Wv_j,   o = concat_h(A_j v) Wo_j
template <class S>
void ForwardPass<S>::recompute_attention(int64_t l, int64_t j, View<S, 2> out, Taps& taps) {
  const auto name = [l, j](const char* tensor) { return golden::recompute_name(l, j, tensor); };
  const LayerWeights<S>& w = layer(j);
  Buffers<S>& buf = buffers_;
  form_scores_again(j);
  View<S, 2> input = stream(l);
  if (pre_norm()) {
    norm(buf.attn_norm, input, {}, w.attn_norm);
    taps.offer(name("attn_norm"), buf.attn_norm);
    input = buf.attn_norm;
  }
  project_heads(buf.recompute_v, input, w.wv, false);
  taps.offer(name("v"), buf.recompute_v);
  View<S, 4> v = buf.recompute_v;
  if (decodes()) append(v = cache_->recompute_v(l, j), buf.recompute_v);
  if (buf.stores_probs()) {
    stored_attention(buf.recompute_context, buf.probs_of(j), scores_of(j), v, queue_);
  } else {
    replay_attention(buf.recompute_context, stored_lse_of(j), stored_scores_of(j), v, queue_);
  }
  taps.offer(name("context"), buf.recompute_context);
  linear(out, buf.recompute_context.as({input.shape[0], buf.recompute_context.shape[2]}), w.wo);
  taps.offer(name("attn_out"), out);
}

// r_{j>l} = MLP_j(mlp_norm_j(X_l + o_{j>l}))
template <class S>
void ForwardPass<S>::recompute_mlp(int64_t l, int64_t j, Taps& taps) {
  const auto name = [l, j](const char* tensor) { return golden::recompute_name(l, j, tensor); };
  const LayerWeights<S>& w = layer(j);
  Buffers<S>& buf = buffers_;
  recompute_attention(l, j, buf.attn_out, taps);
  norm(buf.attn_norm, stream(l), buf.attn_out, pre_norm() ? w.mlp_norm : w.attn_norm);
  taps.offer(name(mlp_input_name()), buf.attn_norm);
  linear(buf.wide_up, buf.attn_norm, w.w_up);
  if (llama()) {
    linear(buf.wide_gate, buf.attn_norm, w.w_gate);
    swiglu<S, A>(buf.act, buf.wide_gate, buf.wide_up, queue_);
  } else {
    gelu<S, A>(buf.act, buf.wide_up, config_.activation == golden::Activation::gelu_new, queue_);
  }
  taps.offer(name("mlp_act"), buf.act);
  linear(recompute_out(j), buf.act, w.w_down);
  taps.offer(name("mlp_out"), recompute_out(j));
}

template <class S>
void ForwardPass<S>::form_sum(int64_t l, View<const S, 2> own, Taps& taps) {
  if (stacked_ != nullptr) {
    stacked_->form_sum(buffers_.sum, {.l = l,
                                      .x = stream(l),
                                      .own = own,
                                      .scores = scores_of(0),
                                      .lse = buffers_.lse[0],
                                      .probs = buffers_.probs});
    return;
  }
  for (int64_t j = 0; j < l; ++j) {
    if (method_.recomputes_mlp()) {
      recompute_mlp(l, j, taps);
    } else {
      recompute_attention(l, j, recompute_out(j), taps);
    }
  }
  const bool with_own = method_.combine != Combine::sum;
  const double scale = method_.combine == Combine::mean ? 1 / static_cast<double>(l + 1) : 1;
  add_n<S>(buffers_.sum, buffers_.recompute_table, l, with_own ? own.data : nullptr,
           mix_.weights_of(l), scale, queue_);
}

template <class S>
void ForwardPass<S>::add_sum(View<S, 2> y, View<const S, 2> residual, View<const S, 2> own) {
  View<const S, 2> terms[3];
  int count = 0;
  if (method_.keep_residual) terms[count++] = residual;
  if (method_.keep_own) terms[count++] = own;
  terms[count] = buffers_.sum;
  add(y, terms[0], terms[1], terms[2], queue_);
}

#define ASSAY_INSTANTIATE(S)                                                 \
  template ScoreOperands<S> ForwardPass<S>::stored_scores_of(int64_t) const; \
  template void ForwardPass<S>::run_again(int64_t);                          \
  template void ForwardPass<S>::form_scores_again(int64_t);                  \
  template void ForwardPass<S>::form_sum(int64_t, View<const S, 2>, Taps&);  \
  template void ForwardPass<S>::add_sum(View<S, 2>, View<const S, 2>, View<const S, 2>);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
