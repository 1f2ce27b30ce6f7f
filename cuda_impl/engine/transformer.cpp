#include "cuda_impl/engine/transformer.h"

#include "cuda_impl/engine/backward.h"
#include "cuda_impl/engine/batch.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
Transformer<S>::Transformer(const golden::ModelConfig& config, golden::Precision precision,
                            const golden::WeightSource& weights)
    : config_((golden::validate(config, "model"), config)),
      method_(parse_method(config)),
      precision_(precision),
      weights_(config, weights),
      score_coefficients_(config, weights),
      mix_(config, method_, weights) {
  const auto at_most = [](const char* key, int64_t value, int64_t most) {
    if (value <= most) return;
    throw InputError(
        fmt::format("model: {}: the kernels hold at most {}, got {}", key, most, value));
  };
  at_most("head_dim", config.head_dim, kMaxHeadSize);
  if (method_.gated_scores) at_most("num_hidden_layers", config.num_hidden_layers, kMaxGate);
}

template <class S>
golden::PrecisionSchedule Transformer<S>::precision() const {
  const bool narrow_storage = !std::is_same_v<S, A>;
  return {.storage = precision_,
          .accumulate = narrow_storage ? golden::Precision::fp32 : precision_,
          .wide_attention = true};
}

template <class S>
void Transformer<S>::forward(const Batch& batch, Probe* probe) {
  run_forward(batch, probe, false);
  simt::synchronize();  // a fault on the device is reported by the pass that caused it
}

template <class S>
double Transformer<S>::gradients([[maybe_unused]] const Batch& batch,
                                 [[maybe_unused]] const ReceiveGradient& receive) {
  if constexpr (simt::HookedScalar<S>) {
    throw Unsupported("gradients: the backward kernels are not built for this scalar");
  } else {
    if (backward_ == nullptr) backward_ = std::make_unique<Backward<S>>(*this);
    run_forward(batch, nullptr, true);
    return backward_->run(receive);
  }
}

template <class S>
Transformer<S>::~Transformer() = default;

template <class S>
void Transformer<S>::run_forward(const Batch& batch, Probe* probe, bool keep) {
  check_batch(config_, batch);
  prepare(batch, keep);
  Taps taps(probe, list_, queue_);
  embedding(stream(0), weights_.embed, weights_.positions, buffers_.tokens, queue_);
  taps.offer("embed", stream(0));
  for (int64_t l = 0; l < config_.num_hidden_layers; ++l) {
    attend(l, taps);
    add_attention(l, taps);
    run_mlp(l, taps);
    close_layer(l, taps);
  }
  close(taps);
  taps.finish();
}

template <class S>
void Transformer<S>::prepare(const Batch& batch, bool keep) {
  if (buffers_.B != batch.batch || buffers_.T != batch.positions) {
    list_ = golden::tensor_list(config_, batch.batch, batch.positions);
  }
  plan_buffers(buffers_, arena_, config_, method_, batch.batch, batch.positions, keep, queue_);
  simt::copy_in(buffers_.tokens.data, batch.tokens.data(), batch.tokens.size_bytes(), queue_);
  simt::copy_in(buffers_.real.data, batch.attention_mask.data(), batch.attention_mask.size_bytes(),
                queue_);
  simt::copy_in(buffers_.labels.data, batch.labels.data(), batch.labels.size_bytes(), queue_);
}

// ------------------------------------------------------------------------------------------------
// what the parts of a block are made of

template <class S>
void Transformer<S>::norm(View<S, 2> y, View<const S, 2> x, View<const S, 2> addend,
                          const Norm<S>& by) {
  if (!llama()) {
    layer_norm(y, x, addend, by.gain, by.bias, config_.layer_norm_eps, queue_);
  } else if (addend.data != nullptr) {
    rms_norm_of_sum(y, x, addend, by.gain, config_.rms_norm_eps, queue_);
  } else {
    rms_norm(y, x, by.gain, config_.rms_norm_eps, queue_);
  }
}

template <class S>
void Transformer<S>::project_heads(View<S, 4> heads, View<const S, 2> x, const Affine<S>& by,
                                   bool rotate) {
  const auto [B, H, T, Dh] = heads.shape;
  const View<A, 2> wide{buffers_.wide_heads.data, {B * T, H * Dh}};
  linear(wide, x, by);
  if (rotate) {
    rope(heads, wide.as({B, T, H * Dh}), buffers_.cosines, buffers_.sines, queue_);
  } else {
    split_heads(heads, wide.as({B, T, H * Dh}), queue_);
  }
}

template <class S>
Coefficients<accum_t<S>> Transformer<S>::gate_coefficients(int64_t l) const {
  const int64_t outputs = layer(l).gate.bias.shape[0];
  Coefficients<A> c{.data = buffers_.score_factors.data, .layer = 1, .batch = buffers_.T * outputs};
  (config_.method == "5.1E" ? c.key : c.query) = outputs;
  return c;
}

template <class S>
ScoreOperands<S> Transformer<S>::scores_of(int64_t l) const {
  const int64_t first = method_.all_layers_score ? 0 : l;
  return {.q = buffers_.q_table + first,
          .k = buffers_.k_table + first,
          .real = buffers_.real,
          .coefficients = method_.gated_scores ? gate_coefficients(l) : score_coefficients_.of(l),
          .offset = score_coefficients_.offset_of(l),
          .layers = method_.all_layers_score ? l + 1 : 1,
          .H = config_.num_attention_heads,
          .Hkv = config_.num_key_value_heads,
          .Dh = config_.head_dim};
}

template <class S>
View<accum_t<S>, 4> Transformer<S>::matrix() {
  View<A, 4> result;
  matrix_arena_.plan([&](Carver& carver) {
    result = carver.view<A>({buffers_.B, config_.num_attention_heads, buffers_.T, buffers_.T});
  });
  return result;
}

template <class S>
void Transformer<S>::combine(int64_t l, View<const S, 2> own) {
  const bool with_own = method_.combine != Combine::sum;
  const double scale = method_.combine == Combine::mean ? 1 / static_cast<double>(l + 1) : 1;
  add_n<S>(buffers_.sum, buffers_.again_table, l, with_own ? own.data : nullptr, mix_.weights_of(l),
           scale, queue_);
}

template <class S>
void Transformer<S>::add_sum(View<S, 2> y, View<const S, 2> residual, View<const S, 2> own) {
  View<const S, 2> terms[3];
  int count = 0;
  if (method_.keep_residual) terms[count++] = residual;
  if (method_.keep_own) terms[count++] = own;
  terms[count] = buffers_.sum;
  add(y, terms[0], terms[1], terms[2], queue_);
}

// ------------------------------------------------------------------------------------------------
// a layer

// q, k and v of layer l, and what its scores are multiplied by
template <class S>
void Transformer<S>::project(int64_t l, View<const S, 2> input, Taps& taps) {
  const auto name = [l](const char* tensor) { return golden::layer_name(l, tensor); };
  const LayerWeights<S>& w = layer(l);
  Buffers<S>& buf = buffers_;
  project_heads(at(buf.q, l), input, w.wq, llama());
  taps.offer(name("attn/q"), at(buf.q, l));
  project_heads(at(buf.k, l), input, w.wk, llama());
  taps.offer(name("attn/k"), at(buf.k, l));
  project_heads(at(buf.v, l), input, w.wv, false);
  taps.offer(name("attn/v"), at(buf.v, l));
  if (method_.gated_scores) form_score_factors(l, input);
}

template <class S>
void Transformer<S>::form_score_factors(int64_t l, View<const S, 2> input) {
  const GateWeights<S>& gate = layer(l).gate;
  score_gate<S>({buffers_.score_factors.data, {input.shape[0], gate.bias.shape[0]}}, input, gate,
                config_.score_gate_eps, 1 / std::sqrt(static_cast<double>(config_.head_dim)),
                queue_);
}

// O_l = concat_h(A_l V_l) Wo_l,  q, k and v of attn_norm_l(X_l), with post norm of X_l
template <class S>
void Transformer<S>::attend(int64_t l, Taps& taps) {
  const auto name = [l](const char* tensor) { return golden::layer_name(l, tensor); };
  Buffers<S>& buf = buffers_;
  View<S, 2> input = stream(l);
  taps.offer(name("input"), input);
  if (pre_norm()) {
    norm(buf.attn_norm, input, {}, layer(l).attn_norm);
    taps.offer(name("attn_norm"), buf.attn_norm);
    input = buf.attn_norm;
  }
  project(l, input, taps);

  const ScoreOperands<S> scores = scores_of(l);
  const int64_t H = scores.H, Dh = scores.Dh;
  attention(at(buf.context, l), at(buf.lse, l), scores, at(buf.v, l), queue_);
  taps.offer_made(name("attn/scores"), [&] {
    const View<A, 4> out = matrix();
    attention_scores(out, scores, queue_);
    return out;
  });
  taps.offer_made(name("attn/probs"), [&] {
    const View<A, 4> out = matrix();
    attention_probs(out, scores, at(buf.lse, l), queue_);
    return out;
  });
  taps.offer(name("attn/context"), at(buf.context, l));
  linear(buf.attn_out, at(buf.context, l).as({input.shape[0], H * Dh}), layer(l).wo);
  taps.offer(name("attn/out"), buf.attn_out);
}

// Y_l = X_l + O_l; methods 2, 4.x and the plans, l >= 1: their sum of o_{j>l} as well
template <class S>
void Transformer<S>::add_attention(int64_t l, Taps& taps) {
  Buffers<S>& buf = buffers_;
  const View<S, 2> x = stream(l), y = at(buf.attn_residual, l);
  if (method_.recomputes_attention() && l > 0) {
    for (int64_t j = 0; j < l; ++j) attention_again(l, j, again(j), taps);
    combine(l, buf.attn_out);
    taps.offer(golden::layer_name(l, "attn/sum"), buf.sum);
    add_sum(y, x, buf.attn_out);
  } else {
    add(y, x, buf.attn_out, {}, queue_);
  }
  taps.offer(golden::layer_name(l, "attn_residual"), y);
}

// U_l = W_down( silu(W_gate z) * (W_up z) ), GPT-2's W_down gelu(W_up z),  z = mlp_norm_l(Y_l)
template <class S>
void Transformer<S>::run_mlp(int64_t l, Taps& taps) {
  const auto name = [l](const char* tensor) { return golden::layer_name(l, tensor); };
  const LayerWeights<S>& w = layer(l);
  Buffers<S>& buf = buffers_;
  norm(buf.mlp_norm, at(buf.attn_residual, l), {}, pre_norm() ? w.mlp_norm : w.attn_norm);
  taps.offer(name(mlp_input_name()), buf.mlp_norm);
  if (llama()) {
    linear(buf.gate, buf.mlp_norm, w.w_gate);
    taps.offer(name("mlp/gate"), buf.gate);
  }
  linear(buf.up, buf.mlp_norm, w.w_up);
  taps.offer(name("mlp/up"), buf.up);
  if (llama()) {
    swiglu<S, S>(buf.act, buf.gate, buf.up, queue_);
  } else {
    gelu<S, S>(buf.act, buf.up, config_.activation == golden::Activation::gelu_new, queue_);
  }
  taps.offer(name("mlp/act"), buf.act);
  linear(buf.mlp_out, buf.act, w.w_down);
  taps.offer(name("mlp/out"), buf.mlp_out);
}

// o_{j>l}: the attention of layer j once more, on X_l, with the probabilities of its own first pass.
//   v = attn_norm_j(X_l) Wv_j,   o = concat_h(A_j v) Wo_j
template <class S>
void Transformer<S>::attention_again(int64_t l, int64_t j, View<S, 2> out, Taps& taps) {
  const auto name = [l, j](const char* tensor) { return golden::recompute_name(l, j, tensor); };
  const LayerWeights<S>& w = layer(j);
  Buffers<S>& buf = buffers_;
  View<S, 2> input = stream(l);
  if (pre_norm()) {
    norm(buf.attn_norm, input, {}, w.attn_norm);
    taps.offer(name("attn_norm"), buf.attn_norm);
    input = buf.attn_norm;
  }
  project_heads(buf.again_v, input, w.wv, false);
  taps.offer(name("v"), buf.again_v);
  replay_attention(buf.again_context, at(buf.lse, j), scores_of(j), buf.again_v, queue_);
  taps.offer(name("context"), buf.again_context);
  linear(out, buf.again_context.as({input.shape[0], buf.again_context.shape[2]}), w.wo);
  taps.offer(name("attn_out"), out);
}

// r_{j>l} = MLP_j(mlp_norm_j(X_l + o_{j>l}))
template <class S>
void Transformer<S>::mlp_again(int64_t l, int64_t j, Taps& taps) {
  const auto name = [l, j](const char* tensor) { return golden::recompute_name(l, j, tensor); };
  const LayerWeights<S>& w = layer(j);
  Buffers<S>& buf = buffers_;
  attention_again(l, j, buf.attn_out, taps);
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
  linear(again(j), buf.act, w.w_down);
  taps.offer(name("mlp_out"), again(j));
}

// X_{l+1} = Y_l + U_l; methods 1 and 3.x, l >= 1: their sum of r_{j>l} as well. With norms after the
// residuals Y_l is attn_norm and X_{l+1} the norm of that sum.
template <class S>
void Transformer<S>::close_layer(int64_t l, Taps& taps) {
  const auto name = [l](const char* tensor) { return golden::layer_name(l, tensor); };
  Buffers<S>& buf = buffers_;
  const View<S, 2> y = pre_norm() ? at(buf.attn_residual, l) : buf.mlp_norm;
  const View<S, 2> total = pre_norm() ? stream(l + 1) : at(buf.mlp_residual, l);
  if (method_.recomputes_mlp() && l > 0) {
    for (int64_t j = 0; j < l; ++j) mlp_again(l, j, taps);
    combine(l, buf.mlp_out);
    taps.offer(name("mlp/sum"), buf.sum);
    add_sum(total, y, buf.mlp_out);
  } else {
    add(total, y, buf.mlp_out, {}, queue_);
  }
  if (!pre_norm()) {
    taps.offer(name("mlp_residual"), total);
    norm(stream(l + 1), total, {}, layer(l).mlp_norm);
  }
  taps.offer(name("output"), stream(l + 1));
}

template <class S>
void Transformer<S>::close(Taps& taps) {
  Buffers<S>& buf = buffers_;
  View<S, 2> last = stream(config_.num_hidden_layers);
  if (pre_norm()) {
    norm(buf.attn_norm, last, {}, weights_.final_norm);
    taps.offer("final_norm", buf.attn_norm);
    last = buf.attn_norm;
  }
  product<S>(buf.logits.as({last.shape[0], config_.vocab_size}), last, weights_.lm_head, {},
             queue_);
  taps.offer("logits", buf.logits);
  cross_entropy<S>(buf.loss, buf.losses, buf.logits, buf.labels, queue_);
  taps.offer("loss", buf.loss);
}

#define ASSAY_INSTANTIATE(S) template class Transformer<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
