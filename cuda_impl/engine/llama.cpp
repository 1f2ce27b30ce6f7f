#include "cuda_impl/engine/llama.h"

#include "cuda_impl/engine/batch.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
Llama<S>::Llama(const golden::ModelConfig& config, golden::Precision precision,
                const golden::WeightSource& weights)
    : config_((golden::validate(config, "model"), config)),
      method_(parse_method(config)),
      precision_(precision),
      weights_(config, weights) {
  if (config.head_dim > kMaxHeadSize) {
    throw InputError(fmt::format("model: head_dim: the kernels hold at most {}, got {}",
                                 kMaxHeadSize, config.head_dim));
  }
}

template <class S>
golden::PrecisionSchedule Llama<S>::precision() const {
  const bool narrow_storage = precision_ == golden::Precision::bf16;
  return {.storage = precision_,
          .accumulate = narrow_storage ? golden::Precision::fp32 : precision_,
          .wide_attention = true};
}

template <class S>
void Llama<S>::forward(const Batch& batch, Probe* probe) {
  check_batch(config_, batch);
  prepare(batch);
  Taps taps(probe, list_, queue_);
  embedding(stream_into(0), weights_.embed, buffers_.tokens, queue_);
  taps.offer("embed", stream_into(0));
  for (int64_t l = 0; l < config_.num_hidden_layers; ++l) {
    attend(l, taps);
    run_mlp(l, taps);
    if (method_ == Method::recompute_mlp) {
      for (int64_t j = 0; j < l; ++j) run_again(l, j, taps);
    }
    close_layer(l, taps);
  }
  close(taps);
  taps.finish();
  simt::synchronize();  // a fault on the device is reported by the pass that caused it
}

template <class S>
void Llama<S>::prepare(const Batch& batch) {
  const bool same_shape = buffers_.B == batch.batch && buffers_.T == batch.positions;
  plan_buffers(buffers_, arena_, config_, method_, batch.batch, batch.positions, queue_);
  if (!same_shape) list_ = golden::tensor_list(config_, batch.batch, batch.positions);
  simt::copy_in(buffers_.tokens.data, batch.tokens.data(), batch.tokens.size_bytes(), queue_);
  simt::copy_in(buffers_.real.data, batch.attention_mask.data(), batch.attention_mask.size_bytes(),
                queue_);
  simt::copy_in(buffers_.labels.data, batch.labels.data(), batch.labels.size_bytes(), queue_);
}

template <class S>
ScoreOperands<S> Llama<S>::scores_of(int64_t l) const {
  const bool cumulative = method_ == Method::cumulative_scores;
  const int64_t first = cumulative ? 0 : l;
  return {.q = buffers_.q_table + first,
          .k = buffers_.k_table + first,
          .real = buffers_.real,
          .layers = cumulative ? l + 1 : 1,
          .H = config_.num_attention_heads,
          .Hkv = config_.num_key_value_heads,
          .Dh = config_.head_dim};
}

template <class S>
View<accum_t<S>, 4> Llama<S>::matrix() {
  using A = accum_t<S>;
  View<A, 4> result;
  matrix_arena_.plan([&](Carver& carver) {
    result = carver.view<A>({buffers_.B, config_.num_attention_heads, buffers_.T, buffers_.T});
  });
  return result;
}

// buffers_.v [B,Hkv,T,Dh] = the value heads of normed [N,D]
template <class S>
void Llama<S>::project_values(View<S, 2> normed, const LayerWeights<S>& layer) {
  const auto [B, Hkv, T, Dh] = buffers_.v.shape;
  const View<accum_t<S>, 2> wide{buffers_.wide_heads.data, {B * T, Hkv * Dh}};
  product<S>(wide, normed, layer.wv, queue_);
  split_heads(buffers_.v, wide.as({B, T, Hkv * Dh}), queue_);
}

// Y_l = X_l + concat_h(A_l V_l) Wo_l
template <class S>
void Llama<S>::attend(int64_t l, Taps& taps) {
  using A = accum_t<S>;
  const auto name = [l](const char* tensor) { return golden::layer_name(l, tensor); };
  const LayerWeights<S>& w = weights_.layers[static_cast<std::size_t>(l)];
  Buffers<S>& buf = buffers_;
  const int64_t B = buf.B, T = buf.T, N = B * T;

  taps.offer(name("input"), stream_into(l));
  rms_norm(buf.attn_norm, stream_into(l), w.attn_norm, config_.rms_norm_eps, queue_);
  taps.offer(name("attn_norm"), buf.attn_norm);

  const auto project_rotated = [&](View<S, 4> heads, View<const S, 2> weight) {
    const int64_t HDh = weight.shape[0];
    const View<A, 2> wide{buf.wide_heads.data, {N, HDh}};
    product<S>(wide, buf.attn_norm, weight, queue_);
    rope(heads, wide.as({B, T, HDh}), buf.cosines, buf.sines, queue_);
  };
  project_rotated(buf.q_of(l), w.wq);
  taps.offer(name("attn/q"), buf.q_of(l));
  project_rotated(buf.k_of(l), w.wk);
  taps.offer(name("attn/k"), buf.k_of(l));
  project_values(buf.attn_norm, w);
  taps.offer(name("attn/v"), buf.v);

  const ScoreOperands<S> scores = scores_of(l);
  attention(buf.context, buf.lse_of(l), scores, buf.v, queue_);
  taps.offer_made(name("attn/scores"), [&] {
    const View<A, 4> out = matrix();
    attention_scores(out, scores, queue_);
    return out;
  });
  taps.offer_made(name("attn/probs"), [&] {
    const View<A, 4> out = matrix();
    attention_probs(out, scores, buf.lse_of(l), queue_);
    return out;
  });
  taps.offer(name("attn/context"), buf.context);

  product<S>(buf.attn_out, buf.context.as({N, buf.context.shape[2]}), w.wo, queue_);
  taps.offer(name("attn/out"), buf.attn_out);
  add(buf.attn_residual, stream_into(l), buf.attn_out, queue_);
  taps.offer(name("attn_residual"), buf.attn_residual);
}

// U_l = W_down( silu(W_gate z) * (W_up z) ),  z = mlp_norm_l(Y_l)
template <class S>
void Llama<S>::run_mlp(int64_t l, Taps& taps) {
  const auto name = [l](const char* tensor) { return golden::layer_name(l, tensor); };
  const LayerWeights<S>& w = weights_.layers[static_cast<std::size_t>(l)];
  Buffers<S>& buf = buffers_;
  rms_norm(buf.mlp_norm, buf.attn_residual, w.mlp_norm, config_.rms_norm_eps, queue_);
  taps.offer(name("mlp_norm"), buf.mlp_norm);
  product<S>(buf.gate, buf.mlp_norm, w.w_gate, queue_);
  taps.offer(name("mlp/gate"), buf.gate);
  product<S>(buf.up, buf.mlp_norm, w.w_up, queue_);
  taps.offer(name("mlp/up"), buf.up);
  swiglu<S, S>(buf.act, buf.gate, buf.up, queue_);
  taps.offer(name("mlp/act"), buf.act);
  product<S>(buf.mlp_out, buf.act, w.w_down, queue_);
  taps.offer(name("mlp/out"), buf.mlp_out);
}

// r_{j>l}: layer j once more, on X_l, with the probabilities of its own first pass.
//   v = attn_norm_j(X_l) Wv_j,   o = concat_h(A_j v) Wo_j,   r = MLP_j(mlp_norm_j(X_l + o))
template <class S>
void Llama<S>::run_again(int64_t l, int64_t j, Taps& taps) {
  const auto name = [l, j](const char* tensor) { return golden::recompute_name(l, j, tensor); };
  const LayerWeights<S>& w = weights_.layers[static_cast<std::size_t>(j)];
  Buffers<S>& buf = buffers_;
  const View<S, 2> again = buf.again[static_cast<std::size_t>(j)];
  rms_norm(buf.attn_norm, stream_into(l), w.attn_norm, config_.rms_norm_eps, queue_);
  taps.offer(name("attn_norm"), buf.attn_norm);
  project_values(buf.attn_norm, w);
  taps.offer(name("v"), buf.v);
  replay_attention(buf.context, buf.lse_of(j), scores_of(j), buf.v, queue_);
  taps.offer(name("context"), buf.context);
  product<S>(buf.attn_out, buf.context.as({buf.B * buf.T, buf.context.shape[2]}), w.wo, queue_);
  taps.offer(name("attn_out"), buf.attn_out);
  rms_norm_of_sum(buf.mlp_norm, stream_into(l), buf.attn_out, w.mlp_norm, config_.rms_norm_eps,
                  queue_);
  taps.offer(name("mlp_norm"), buf.mlp_norm);
  product<S>(buf.wide_gate, buf.mlp_norm, w.w_gate, queue_);
  product<S>(buf.wide_up, buf.mlp_norm, w.w_up, queue_);
  swiglu<S, accum_t<S>>(buf.act, buf.wide_gate, buf.wide_up, queue_);
  taps.offer(name("mlp_act"), buf.act);
  product<S>(again, buf.act, w.w_down, queue_);
  taps.offer(name("mlp_out"), again);
}

// X_{l+1} = Y_l + U_l;  method 1, l >= 1:  (Y_l) + U_l + sum_{j<l} r_{j>l}, Y_l only with residual
// = keep.
template <class S>
void Llama<S>::close_layer(int64_t l, Taps& taps) {
  Buffers<S>& buf = buffers_;
  const View<S, 2> next = stream_into(l + 1);
  if (method_ == Method::recompute_mlp && l > 0) {
    add_n<S>(buf.mlp_sum, buf.again_table, l, queue_);
    taps.offer(golden::layer_name(l, "mlp/sum"), buf.mlp_sum);
    if (config_.residual == golden::Residual::keep) {
      add(next, buf.attn_residual, buf.mlp_out, buf.mlp_sum, queue_);
    } else {
      add(next, buf.mlp_out, buf.mlp_sum, queue_);
    }
  } else {
    add(next, buf.attn_residual, buf.mlp_out, queue_);
  }
  taps.offer(golden::layer_name(l, "output"), next);
}

template <class S>
void Llama<S>::close(Taps& taps) {
  Buffers<S>& buf = buffers_;
  const int64_t N = buf.B * buf.T;
  rms_norm(buf.attn_norm, stream_into(config_.num_hidden_layers), weights_.final_norm,
           config_.rms_norm_eps, queue_);
  taps.offer("final_norm", buf.attn_norm);
  product<S>(buf.logits.as({N, config_.vocab_size}), buf.attn_norm, weights_.lm_head, queue_);
  taps.offer("logits", buf.logits);
  cross_entropy<S>(buf.loss, buf.losses, buf.logits, buf.labels, queue_);
  taps.offer("loss", buf.loss);
}

template class Llama<float>;
template class Llama<simt::bf16>;
template class Llama<double>;

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
