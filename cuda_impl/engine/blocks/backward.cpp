#include "cuda_impl/engine/blocks/backward.h"

#include <algorithm>

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
Backward<S>::Backward(ForwardPass<S>& pass)
    : pass_(pass),
      stacked_(pass.stacked_ == nullptr
                   ? nullptr
                   : std::make_unique<StackedBackward<S>>(pass.parts_, *pass.stacked_)) {}

template <class S>
double Backward<S>::run(const ReceiveGradient& receive) {
  clear();
  add_gradients(1.0);
  if (receive) {
    read_out<S>(gradients_, pass_.config_, pass_.mix_, pass_.score_coefficients_, pass_.queue_,
                receive);
  }
  A loss{};
  simt::copy_out(&loss, pass_.buffers_.loss.data, sizeof loss, pass_.queue_);
  return static_cast<double>(loss);
}

template <class S>
void Backward<S>::add_gradients(double scale) {
  prepare();
  head(scale);
  for (int64_t l = pass_.config_.num_hidden_layers - 1; l >= 0; --l) {
    pass_.run_again(l);
    mlp_site(l);
    attention_site(l);
  }
  if (stacked_ != nullptr) stacked_->epilogue(gradients_);
  embed();
}

// ------------------------------------------------------------------------------------------------
// memory

template <class S>
const WeightGradients<accum_t<S>>& Backward<S>::clear() {
  gradient_arena_.plan(
      [&](Carver& carver) { carve(gradients_, carver, pass_.config_, pass_.method_); });
  simt::device_zero(gradients_.first, gradients_.bytes, pass_.queue_);
  return gradients_;
}

template <class S>
void Backward<S>::prepare() {
  if (scratch_.B != pass_.buffers_.B || scratch_.T != pass_.buffers_.T) {
    Scratch planned;
    planned.B = pass_.buffers_.B;
    planned.T = pass_.buffers_.T;
    scratch_arena_.plan([&](Carver& carver) { carve_scratch(planned, carver); });
    scratch_ = std::move(planned);
    fill_tables();
    if (stacked_ != nullptr) stacked_->plan(scratch_.B, scratch_.T);
  }
  for (const View<A, 4>& d_q : scratch_.d_q) zero(d_q);
  for (const View<A, 4>& d_k : scratch_.d_k) zero(d_k);
  if (stacked_ != nullptr) stacked_->clear();
}

template <class S>
void Backward<S>::carve_scratch(Scratch& x, Carver& carver) const {
  const golden::ModelConfig& c = pass_.config_;
  const int64_t B = x.B, T = x.T, N = B * T, L = c.num_hidden_layers, D = c.hidden_size;
  const int64_t H = c.num_attention_heads, Hkv = c.num_key_value_heads, Dh = c.head_dim;
  const int64_t F = c.intermediate_size, widest = std::max({D, F, H * Dh});
  for (View<A, 2>* array : {&x.d_next, &x.d_stream, &x.d_residual, &x.d_term, &x.d_norm}) {
    *array = carver.view<A>({N, D});
  }
  x.rounded = carver.view<S>({N, D});
  x.d_act = carver.view<S>({N, F});
  x.d_context = carver.view<S>({B, T, H * Dh});
  x.d_heads = carver.view<S>({B, T, H * Dh});
  x.delta = carver.view<A>({B, H, T});
  x.d_v = carver.view<A>({B, Hkv, T, Dh});
  const bool looks_back = pass_.method_.recomputes() || pass_.method_.all_layers_score;
  x.d_q.resize(static_cast<std::size_t>(looks_back ? L : 1));
  x.d_k.resize(x.d_q.size());
  for (View<A, 4>& d_q : x.d_q) d_q = carver.view<A>({B, H, T, Dh});
  for (View<A, 4>& d_k : x.d_k) d_k = carver.view<A>({B, Hkv, T, Dh});
  x.d_q_table = carver.take<A*>(L);
  x.d_k_table = carver.take<A*>(L);
  const bool coefficients = pass_.method_.family == golden::Family::score_accumulation;
  x.coefficient_parts = carver.view<A>({coefficients ? L : 0, B, H, coefficient_parts(T)});
  const int64_t rows = c.qk_norm ? B * H * T : 0;
  x.d_proj = carver.view<A>({c.qk_norm ? B : 0, H, T, Dh});
  x.head_statistics = carver.view<A>({1, rows});
  x.head_parts = carver.view<A>({row_chunks(rows), Dh});
  x.statistics = carver.view<A>({2, N});
  x.norm_parts = carver.view<A>({2 * row_chunks(N), D});
  x.bias_parts = carver.view<A>({row_chunks(N), widest});
  const int64_t gated = pass_.method_.gated_scores ? N : 0;
  x.d_factors = carver.view<A>({gated, L});
  x.gate = {.dg = carver.view<A>({gated, L}),
            .inner = carver.view<A>({gated, L}),
            .dpre = carver.view<A>({gated, L}),
            .z = carver.view<A>({gated, D}),
            .dz = carver.view<A>({gated, D})};
  x.counted = carver.view<A>({1});
  x.row_parts = carver.view<A>({N});
  x.position_ids = carver.view<int32_t>({N});
}

template <class S>
void Backward<S>::fill_tables() {
  std::vector<A*> d_q, d_k;
  for (int64_t l = 0; l < pass_.config_.num_hidden_layers; ++l) {
    d_q.push_back(at(scratch_.d_q, l).data);
    d_k.push_back(at(scratch_.d_k, l).data);
  }
  simt::copy_in(scratch_.d_q_table, d_q.data(), d_q.size() * sizeof(A*), pass_.queue_);
  simt::copy_in(scratch_.d_k_table, d_k.data(), d_k.size() * sizeof(A*), pass_.queue_);
  std::vector<int32_t> ids;
  for (int64_t n = 0; n < scratch_.B * scratch_.T; ++n) {
    ids.push_back(static_cast<int32_t>(n % scratch_.T));
  }
  simt::copy_in(scratch_.position_ids.data, ids.data(), ids.size() * sizeof(int32_t), pass_.queue_);
}

// ------------------------------------------------------------------------------------------------
// before the first layer, behind the last one

// Of a tile of positions after the other, the loss with it: the logits are formed once.
template <class S>
void Backward<S>::head(double scale) {
  Buffers<S>& buf = pass_.buffers_;
  counted_positions(scratch_.counted, buf.labels, pass_.queue_);
  const View<S, 2> x = pass_.stream(pass_.config_.num_hidden_layers);
  const int64_t D = x.shape[1];
  const View<const S, 2> read = pass_.final_norm(x);
  pass_.for_head_tiles(read, [&](int64_t first, View<S, 2> logits) {
    const int64_t n = logits.shape[0];
    position_losses<S>(buf.losses, logits, first, buf.labels, pass_.queue_);
    cross_entropy_backward(logits, logits, first, buf.labels, scratch_.counted, scale,
                           pass_.queue_);
    gemm_tn<S>(gradients_.lm_head, logits, {read.data + first * D, {n, D}}, true, pass_.queue_,
               pass_.parts_->operands);
    gemm_nn<S>(View<A, 2>{scratch_.d_norm.data + first * D, {n, D}}, logits, pass_.weights_.lm_head,
               false, pass_.queue_, pass_.parts_->operands);
  });
  mean_loss(buf.loss, buf.losses, buf.labels, pass_.queue_);
  if (pass_.pre_norm()) {
    norm(scratch_.d_norm, x, {}, pass_.weights_.final_norm, gradients_.final_norm);
    std::swap(scratch_.d_next, scratch_.d_term);
  } else {
    std::swap(scratch_.d_next, scratch_.d_norm);
  }
}

template <class S>
void Backward<S>::embed() {
  const Buffers<S>& buf = pass_.buffers_;
  const bool fast_atomics = pass_.parts_->options.fast_atomics;
  round(scratch_.d_next, 1.0);
  embedding_backward<S>(gradients_.embed, scratch_.rounded, buf.tokens.as({buf.B * buf.T}), true,
                        pass_.queue_, fast_atomics);
  if (gradients_.positions.data == nullptr) return;
  embedding_backward<S>(gradients_.positions, scratch_.rounded, scratch_.position_ids, true,
                        pass_.queue_, fast_atomics);
}

// ------------------------------------------------------------------------------------------------
// the two sites of a layer

template <class S>
void Backward<S>::mlp_site(int64_t l) {
  const Method& method = pass_.method_;
  const bool combines = method.recomputes_mlp() && l > 0;
  if (!pass_.pre_norm()) {
    norm(scratch_.d_next, at(pass_.buffers_.mlp_residual, l), {}, pass_.layer(l).mlp_norm,
         gradients_of(l).mlp_norm);
    std::swap(scratch_.d_next, scratch_.d_term);
  }
  zero(scratch_.d_residual);
  zero(scratch_.d_stream);
  if (!combines || method.keep_residual) add_to(scratch_.d_residual, scratch_.d_next);
  own_mlp(l, combines ? pass_.mix_.weight(l, l) : 1.0);
  if (combines) recompute_layers(l, scratch_.d_next);
  if (!pass_.pre_norm()) {
    norm(scratch_.d_residual, at(pass_.buffers_.attn_residual, l), {}, pass_.layer(l).attn_norm,
         gradients_of(l).attn_norm);
    std::swap(scratch_.d_residual, scratch_.d_term);
  }
}

template <class S>
void Backward<S>::attention_site(int64_t l) {
  const Method& method = pass_.method_;
  const bool combines = method.recomputes_attention() && l > 0;
  if (!combines || method.keep_residual) add_to(scratch_.d_stream, scratch_.d_residual);
  if (combines) recompute_layers(l, scratch_.d_residual);
  const bool dropped = combines && method.combine == Combine::sum && !method.keep_own;
  own_attention(l, dropped ? 0.0 : combines ? pass_.mix_.weight(l, l) : 1.0);
  std::swap(scratch_.d_next, scratch_.d_stream);
}

template <class S>
void Backward<S>::own_mlp(int64_t l, double weight) {
  Buffers<S>& buf = pass_.buffers_;
  const LayerWeights<S>& w = pass_.layer(l);
  LayerGradients<A>& g = gradients_of(l);
  const View<S, 2> y = at(buf.attn_residual, l);
  const bool mixed = learned_mix() && pass_.method_.recomputes_mlp() && l > 0;
  pass_.norm(buf.mlp_norm, y, {}, mlp_norm_of(w));
  round_own(l, "mlp", scratch_.d_next, weight);
  mlp(w, g, buf.mlp_norm, mixed ? buf.mlp_out : View<S, 2>{});
  if (mixed) {
    pass_.drop(l, "mlp", buf.mlp_out);
    mix_gradient(l, l, scratch_.d_next, buf.mlp_out);
  }
  if (pass_.pre_norm()) {
    norm(scratch_.d_norm, y, {}, w.mlp_norm, g.mlp_norm);
    add_to(scratch_.d_residual, scratch_.d_term);
  } else {
    add_to(scratch_.d_residual, scratch_.d_norm);
  }
}

template <class S>
void Backward<S>::own_attention(int64_t l, double weight) {
  Buffers<S>& buf = pass_.buffers_;
  const LayerWeights<S>& w = pass_.layer(l);
  LayerGradients<A>& g = gradients_of(l);
  const View<S, 2> x = pass_.stream(l);
  const View<S, 3> context = at(buf.context, l);
  if (scratch_.d_q.size() == 1) {
    zero(scratch_.d_q[0]);
    zero(scratch_.d_k[0]);
  }
  if (learned_mix() && pass_.method_.recomputes_attention() && l > 0) {
    pass_.linear(buf.attn_out, context.as({x.shape[0], context.shape[2]}), w.wo);
    pass_.drop(l, "attn", buf.attn_out);
    mix_gradient(l, l, scratch_.d_residual, buf.attn_out);
  }
  View<const S, 2> h = x;
  if (pass_.pre_norm()) {
    pass_.norm(buf.attn_norm, x, {}, w.attn_norm);
    h = buf.attn_norm;
  }
  if (pass_.method_.gated_scores) pass_.form_score_factors(l, h);
  round_own(l, "attn", scratch_.d_residual, weight);
  attend(l, w.wo, g.wo, at(buf.v, l), context, true);
  const bool normed = pass_.config_.qk_norm;
  const View<const S, 4> q = normed ? at(buf.q_proj, l) : View<S, 4>{};
  const View<const S, 4> k = normed ? at(buf.k_proj, l) : View<S, 4>{};
  project_scored(at(scratch_.d_q, l), q, w.q_norm, g.q_norm, w.wq, g.wq, h, false);
  project_scored(at(scratch_.d_k, l), k, w.k_norm, g.k_norm, w.wk, g.wk, h, true);
  project(scratch_.d_v, false, w.wv, g.wv, h, true);
  if (pass_.method_.gated_scores) gate(l, h);
  if (pass_.pre_norm()) {
    norm(scratch_.d_norm, x, {}, w.attn_norm, g.attn_norm);
    add_to(scratch_.d_stream, scratch_.d_term);
  } else {
    add_to(scratch_.d_stream, scratch_.d_norm);
  }
}

// ------------------------------------------------------------------------------------------------
// earlier layers, run again in layer l

template <class S>
void Backward<S>::recompute_layers(int64_t l, View<const A, 2> d) {
  if (stacked_ == nullptr) {
    for (int64_t j = 0; j < l; ++j) {
      if (pass_.method_.recomputes_mlp()) {
        recompute_mlp(l, j);
      } else {
        recompute_attention(l, j);
      }
    }
    return;
  }
  const bool detached = pass_.method_.detach_stored;
  stacked_->add(gradients_, {.forward = {.l = l,
                                         .x = pass_.stream(l),
                                         .own = {},
                                         .scores = pass_.scores_of(0),
                                         .lse = pass_.buffers_.lse[0],
                                         .probs = {}},
                             .d = d,
                             .d_stream = scratch_.d_stream,
                             .d_q = detached ? nullptr : scratch_.d_q_table,
                             .d_k = detached ? nullptr : scratch_.d_k_table});
}

template <class S>
View<const S, 2> Backward<S>::recompute_context(int64_t l, int64_t j) {
  Buffers<S>& buf = pass_.buffers_;
  const LayerWeights<S>& w = pass_.layer(j);
  pass_.form_scores_again(j);
  View<S, 2> h = pass_.stream(l);
  if (pass_.pre_norm()) {
    pass_.norm(buf.attn_norm, h, {}, w.attn_norm);
    h = buf.attn_norm;
  }
  pass_.project_heads(buf.recompute_v, h, w.wv, false);
  replay_attention<S>(buf.recompute_context, pass_.stored_lse_of(j), pass_.stored_scores_of(j),
                      buf.recompute_v, pass_.queue_);
  return h;
}

template <class S>
void Backward<S>::recompute_epilogue(int64_t l, int64_t j, View<const S, 2> h) {
  Buffers<S>& buf = pass_.buffers_;
  const LayerWeights<S>& w = pass_.layer(j);
  LayerGradients<A>& g = gradients_of(j);
  attend(j, w.wo, g.wo, buf.recompute_v, buf.recompute_context, false);
  project(scratch_.d_v, false, w.wv, g.wv, h, false);
  if (pass_.pre_norm()) {
    norm(scratch_.d_norm, pass_.stream(l), {}, w.attn_norm, g.attn_norm);
    add_to(scratch_.d_stream, scratch_.d_term);
  } else {
    add_to(scratch_.d_stream, scratch_.d_norm);
  }
}

template <class S>
void Backward<S>::recompute_attention(int64_t l, int64_t j) {
  Buffers<S>& buf = pass_.buffers_;
  const View<const S, 2> h = recompute_context(l, j);
  if (learned_mix()) {
    const View<S, 3> context = buf.recompute_context;
    pass_.linear(buf.attn_out, context.as({h.shape[0], context.shape[2]}), pass_.layer(j).wo);
    mix_gradient(l, j, scratch_.d_residual, buf.attn_out);
  }
  round(scratch_.d_residual, pass_.mix_.weight(l, j));
  recompute_epilogue(l, j, h);
}

template <class S>
void Backward<S>::recompute_mlp(int64_t l, int64_t j) {
  Buffers<S>& buf = pass_.buffers_;
  const LayerWeights<S>& w = pass_.layer(j);
  LayerGradients<A>& g = gradients_of(j);
  const View<S, 2> x = pass_.stream(l);
  const View<const S, 2> h = recompute_context(l, j);
  pass_.linear(buf.attn_out, buf.recompute_context.as({h.shape[0], buf.recompute_context.shape[2]}),
               w.wo);
  pass_.norm(buf.mlp_norm, x, buf.attn_out, mlp_norm_of(w));

  round(scratch_.d_next, pass_.mix_.weight(l, j));
  mlp(w, g, buf.mlp_norm, learned_mix() ? buf.mlp_out : View<S, 2>{});
  if (learned_mix()) mix_gradient(l, j, scratch_.d_next, buf.mlp_out);
  norm(scratch_.d_norm, x, buf.attn_out, mlp_norm_of(w), mlp_norm_of(g));
  add_to(scratch_.d_stream, scratch_.d_term);
  round(scratch_.d_term, 1.0);
  recompute_epilogue(l, j, h);
}

#define ASSAY_INSTANTIATE(S) template class Backward<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
