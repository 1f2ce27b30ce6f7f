#include "cuda_impl/engine/blocks/forward_pass.h"

#include "cuda_impl/engine/memory/batch.h"
#include "cuda_impl/kernels/attention/attention_variants.h"
#include "cuda_impl/kernels/attention/stored_attention.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
ForwardPass<S>::ForwardPass(std::shared_ptr<const Parts<S>> parts, const Cache<S>* cache)
    : parts_(std::move(parts)),
      config_(parts_->config),
      method_(parts_->method),
      weights_(parts_->weights),
      score_coefficients_(parts_->score_coefficients),
      mix_(parts_->mix),
      queue_(parts_->queue),
      cache_(cache),
      stacked_(parts_->stacked == nullptr ? nullptr
                                          : std::make_unique<StackedRecompute<S>>(parts_, cache)) {}

template <class S>
void ForwardPass<S>::run(const Batch& batch, Probe* probe, bool save_for_backward,
                         const DropoutPlace& dropout) {
  check_batch(config_, batch);
  dropout_ = dropout;
  plan({.B = batch.batch,
        .T = batch.positions,
        .R = batch.positions,
        .save_for_backward = save_for_backward,
        .options = parts_->options});
  simt::copy_in(buffers_.tokens.data, batch.tokens.data(), batch.tokens.size_bytes(), queue_);
  simt::copy_in(buffers_.padding_mask.data, batch.attention_mask.data(),
                batch.attention_mask.size_bytes(), queue_);
  simt::copy_in(buffers_.labels.data, batch.labels.data(), batch.labels.size_bytes(), queue_);
  Taps taps(probe, list_, queue_);
  run_layers(taps);
  if (save_for_backward) return;
  epilogue(taps);
  taps.finish();
}

template <class S>
void ForwardPass<S>::run_layers(Taps& taps) {
  embedding(stream(0), weights_.embed, weights_.positions, buffers_.tokens, position_offset(),
            queue_);
  taps.offer("embed", stream(0));
  for (int64_t l = 0; l < config_.num_hidden_layers; ++l) {
    attend(l, taps);
    add_attention(l, taps);
    run_mlp(l, taps);
    layer_epilogue(l, taps);
  }
}

template <class S>
bool ForwardPass<S>::plan(const PassShape& shape) {
  if (buffers_.B != shape.B || buffers_.T != shape.T) {
    list_ = golden::tensor_list(config_, shape.B, shape.T);
    if (stacked_ != nullptr) {
      std::erase_if(list_, [](const auto& tensor) { return golden::is_recomputed(tensor.name); });
    }
  }
  const bool planned = plan_buffers(buffers_, arena_, config_, method_, shape, queue_);
  if (planned && stacked_ != nullptr) stacked_->plan(shape.B, shape.T);
  return planned;
}

// ------------------------------------------------------------------------------------------------
// what the parts of a block are made of

template <class S>
void ForwardPass<S>::norm(View<S, 2> y, View<const S, 2> x, View<const S, 2> addend,
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
void ForwardPass<S>::add_norm(View<S, 2> sum, View<S, 2> y, View<const S, 2> x,
                              View<const S, 2> addend, const Norm<S>& by) {
  if (llama()) {
    add_rms_norm(sum, y, x, addend, by.gain, config_.rms_norm_eps, queue_);
  } else {
    add_layer_norm(sum, y, x, addend, by.gain, by.bias, config_.layer_norm_eps, queue_);
  }
}

template <class S>
void ForwardPass<S>::project_heads(View<S, 4> heads, View<const S, 2> x, const Affine<S>& by,
                                   bool rotate) {
  const auto [B, H, T, Dh] = heads.shape;
  const View<A, 2> wide{buffers_.wide_heads.data, {B * T, H * Dh}};
  linear(wide, x, by);
  if (rotate) {
    rope(heads, wide.as({B, T, H * Dh}), buffers_.cosines, buffers_.sines, position_offset(),
         queue_);
  } else {
    split_heads(heads, wide.as({B, T, H * Dh}), queue_);
  }
}

template <class S>
void ForwardPass<S>::project_scored(int64_t l, const char* tensor, View<S, 4> plain,
                                    View<S, 4> heads, View<const S, 2> x, const Affine<S>& by,
                                    const Norm<S>& norm, Taps& taps) {
  const std::string name = golden::layer_name(l, tensor);
  if (norm.gain.data == nullptr) {
    project_heads(heads, x, by, llama());
    taps.offer(name, heads);
    return;
  }
  const auto [B, H, T, Dh] = heads.shape;
  project_heads(plain, x, by, false);
  taps.offer(name + "_proj", plain);
  rms_norm(heads.as({B * H * T, Dh}), plain.as({B * H * T, Dh}), norm.gain, config_.rms_norm_eps,
           queue_);
  taps.offer(name + "_norm", heads);
  turn_heads(heads, heads, buffers_.cosines, buffers_.sines, position_offset(), false, queue_);
  taps.offer(name, heads);
}

template <class S>
Coefficients<accum_t<S>> ForwardPass<S>::gate_coefficients(int64_t l) const {
  const int64_t outputs = layer(l).gate.bias.shape[0];
  const A* data = decodes() ? at(cache_->factors, l).data : buffers_.score_factors.data;
  const int64_t rows = decodes() ? at(cache_->factors, l).shape[2] : buffers_.T;
  Coefficients<A> c{.data = data, .layer = 1, .batch = rows * outputs};
  (method_.score_axes == ScoreAxes::key ? c.key : c.query) = outputs;
  return c;
}

template <class S>
bool ForwardPass<S>::rounds_probs() const {
  const bool on_tensor_cores =
      !method_.gated_scores &&
      prefers_attention_mma<S>(config_.head_dim, score_coefficients_.of(0));
  const bool is_narrow = !std::is_same_v<S, A>;
  return on_tensor_cores || (is_narrow && stores_probs<S>(config_, method_, parts_->options, 1, 1));
}

template <class S>
ScoreOperands<S> ForwardPass<S>::scores_of(int64_t l) const {
  const int64_t from = method_.all_layers_score ? 0 : l, window = window_of_layer(config_, l);
  return {.q = buffers_.q_table + from,
          .k = (decodes() ? cache_->k_table() : buffers_.k_table) + from,
          .padding_mask = decodes() ? cache_->padding_mask : buffers_.padding_mask,
          .position_offset = position_offset(),
          .coefficients = method_.gated_scores ? gate_coefficients(l) : score_coefficients_.of(l),
          .offset = score_coefficients_.offset_of(l),
          .layers = method_.score_terms(l),
          .H = config_.num_attention_heads,
          .Hkv = config_.num_key_value_heads,
          .Dh = config_.head_dim,
          .window = window,
          .sinks = window == 0 ? 0 : config_.sink_tokens,
          .sizes = sizes_windows(config_, l) ? at(buffers_.window_sizes, l).data : nullptr,
          .positions = decodes() ? cache_->positions : 0,
          .ring = decodes() ? cache_->ring : Ring{},
          .blocks = decodes() ? cache_->block_table : BlockTable{}};
}

template <class S>
View<accum_t<S>, 4> ForwardPass<S>::matrix() {
  View<A, 4> result;
  matrix_arena_.plan([&](Carver& carver) {
    result = carver.view<A>({buffers_.B, config_.num_attention_heads, buffers_.T, buffers_.T});
  });
  return result;
}

// ------------------------------------------------------------------------------------------------
// a layer

// q, k and v of layer l, and what its scores are multiplied by
template <class S>
void ForwardPass<S>::project(int64_t l, View<const S, 2> input, Taps& taps) {
  const auto name = [l](const char* tensor) { return golden::layer_name(l, tensor); };
  const LayerWeights<S>& w = layer(l);
  Buffers<S>& buf = buffers_;
  const auto plain = [&](std::vector<View<S, 4>>& of) {
    return config_.qk_norm ? at(of, l) : View<S, 4>{};
  };
  project_scored(l, "attn/q", plain(buf.q_proj), at(buf.q, l), input, w.wq, w.q_norm, taps);
  project_scored(l, "attn/k", plain(buf.k_proj), at(buf.k, l), input, w.wk, w.k_norm, taps);
  project_heads(at(buf.v, l), input, w.wv, false);
  taps.offer(name("attn/v"), at(buf.v, l));
  if (method_.gated_scores) form_score_factors(l, input);
  if (decodes()) append_kv(l);
}

template <class S>
void ForwardPass<S>::form_score_factors(int64_t l, View<const S, 2> input) {
  const GateWeights<S>& gate = layer(l).gate;
  score_gate<S>({buffers_.score_factors.data, {input.shape[0], gate.bias.shape[0]}}, input, gate,
                config_.score_gate_eps, 1 / std::sqrt(static_cast<double>(config_.head_dim)),
                queue_);
}

// O_l = concat_h(A_l V_l) Wo_l,  q, k and v of attn_norm_l(X_l), with post norm of X_l
template <class S>
void ForwardPass<S>::attend(int64_t l, Taps& taps) {
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

  size_windows(l, taps);
  const ScoreOperands<S> scores = scores_of(l);
  const int64_t H = scores.H, Dh = scores.Dh;
  const View<S, 4> values = decodes() ? at(cache_->v, l) : at(buf.v, l);
  if (buf.partial.shape[0] > 0) {
    attend_in_parts(l, scores, values);
  } else {
    attention(at(buf.context, l), at(buf.lse, l), scores, values, queue_);
  }
  if (buf.stores_probs() && l + 1 < config_.num_hidden_layers) {
    store_probs(buf.probs_of(l), scores, at(buf.lse, l), queue_);
  }
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
  drop(l, "attn", buf.attn_out);
}

// Y_l = X_l + O_l; methods 2, 4.x and the plans, l >= 1: their sum of o_{j>l} as well. And z =
// mlp_norm_l(Y_l), in one pass with it where nobody looks in between.
template <class S>
void ForwardPass<S>::add_attention(int64_t l, Taps& taps) {
  Buffers<S>& buf = buffers_;
  const View<S, 2> x = stream(l), y = at(buf.attn_residual, l);
  const LayerWeights<S>& w = layer(l);
  const Norm<S>& by = pre_norm() ? w.mlp_norm : w.attn_norm;
  const bool recomputes = method_.recomputes_attention() && l > 0;
  if (!recomputes && !taps.active()) {
    add_norm(y, buf.mlp_norm, x, buf.attn_out, by);
    return;
  }
  if (recomputes) {
    form_sum(l, buf.attn_out, taps);
    taps.offer(golden::layer_name(l, "attn/sum"), buf.sum);
    add_sum(y, x, buf.attn_out);
  } else {
    add(y, x, buf.attn_out, {}, queue_);
  }
  taps.offer(golden::layer_name(l, "attn_residual"), y);
  norm(buf.mlp_norm, y, {}, by);
}

// U_l = W_down( silu(W_gate z) * (W_up z) ), GPT-2's W_down gelu(W_up z)
template <class S>
void ForwardPass<S>::run_mlp(int64_t l, Taps& taps) {
  const auto name = [l](const char* tensor) { return golden::layer_name(l, tensor); };
  const LayerWeights<S>& w = layer(l);
  Buffers<S>& buf = buffers_;
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
  drop(l, "mlp", buf.mlp_out);
}

template <class S>
void ForwardPass<S>::drop(int64_t l, const char* branch, View<S, 2> own) {
  if (dropout_.drops()) dropout<S, S>(own, own, 1.0, mask_of(l, branch), queue_);
}

// X_{l+1} = Y_l + U_l; methods 1 and 3.x, l >= 1: their sum of r_{j>l} as well. With norms after
// the residuals Y_l is attn_norm and X_{l+1} the norm of that sum.
template <class S>
void ForwardPass<S>::layer_epilogue(int64_t l, Taps& taps) {
  const auto name = [l](const char* tensor) { return golden::layer_name(l, tensor); };
  Buffers<S>& buf = buffers_;
  const View<S, 2> y = pre_norm() ? at(buf.attn_residual, l) : buf.mlp_norm;
  const View<S, 2> total = pre_norm() ? stream(l + 1) : at(buf.mlp_residual, l);
  const bool recomputes = method_.recomputes_mlp() && l > 0;
  if (!recomputes && !pre_norm() && !taps.active()) {
    add_norm(total, stream(l + 1), y, buf.mlp_out, layer(l).mlp_norm);
    return;
  }
  if (recomputes) {
    form_sum(l, buf.mlp_out, taps);
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
void ForwardPass<S>::epilogue(Taps& taps) {
  Buffers<S>& buf = buffers_;
  const View<const S, 2> read = final_norm(stream(config_.num_hidden_layers));
  if (taps.active() || taps.wants_result("logits")) {
    if (pre_norm()) taps.offer("final_norm", buf.attn_norm);
    const View<S, 2> logits = all_logits();
    form_logits(logits, read);
    taps.offer("logits", logits);
    position_losses<S>(buf.losses, logits, 0, buf.labels, queue_);
  } else {
    for_head_tiles(read, [&](int64_t first, View<S, 2> logits) {
      position_losses<S>(buf.losses, logits, first, buf.labels, queue_);
    });
  }
  mean_loss(buf.loss, buf.losses, buf.labels, queue_);
  taps.offer("loss", buf.loss);
}

template <class S>
View<const S, 2> ForwardPass<S>::final_norm(View<const S, 2> rows) {
  if (!pre_norm()) return rows;
  const View<S, 2> normed{buffers_.attn_norm.data, rows.shape};
  norm(normed, rows, {}, weights_.final_norm);
  return normed;
}

template <class S>
void ForwardPass<S>::form_logits(View<S, 2> logits, View<const S, 2> read) {
  gemm<S>(logits, read, weights_.lm_head, {}, queue_, parts_->operands);
}

template <class S>
View<S, 2> ForwardPass<S>::all_logits() {
  const int64_t N = buffers_.B * buffers_.T, V = config_.vocab_size;
  View<S, 2> logits = buffers_.logits;
  if (logits.shape[0] == N) return logits;
  logits_arena_.plan([&](Carver& carver) { logits = carver.view<S>({N, V}); });
  return logits;
}

#define ASSAY_INSTANTIATE(S) template class ForwardPass<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
