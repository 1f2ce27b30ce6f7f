#include "cuda_impl/engine/mean_field/mean_field_pass.h"

#include "cuda_impl/engine/memory/batch.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
MeanFieldPass<S>::MeanFieldPass(std::shared_ptr<const MeanFieldParts<S>> parts,
                                const MeanFieldCache<S>* cache)
    : parts_(std::move(parts)),
      config_(parts_->config),
      schedule_(parts_->schedule),
      operands_(parts_->operands),
      weights_(parts_->weights),
      queue_(parts_->queue),
      cache_(cache) {}

template <class S>
void MeanFieldPass<S>::run(const Batch& batch, Probe* probe, bool save_for_backward) {
  check_batch(config_, batch);
  plan({.B = batch.batch, .T = batch.positions, .save_for_backward = save_for_backward});
  const std::vector<int64_t> none(static_cast<std::size_t>(batch.batch), 0);
  copy_inputs(batch.tokens, batch.attention_mask, none);
  simt::copy_in(buffers_.labels.data, batch.labels.data(), batch.labels.size_bytes(), queue_);
  Taps taps(probe, list_, queue_);
  rounds(taps);
  form_logits();
  taps.offer("logits", buffers_.logits);
  const View<S, 3> logits = buffers_.logits.as({buffers_.B, buffers_.T, config_.vocab_size});
  cross_entropy<S>(buffers_.loss, buffers_.losses, logits, buffers_.labels, queue_,
                   schedule_.label_shift());
  taps.offer("loss", buffers_.loss);
  taps.finish();
}

template <class S>
View<const S, 2> MeanFieldPass<S>::run(const Chunk& chunk) {
  if (plan({.B = cache_->padding_mask.shape[0], .T = chunk.positions})) chunk_graph_.forget();
  copy_inputs(chunk.tokens, chunk.attention_mask, cache_->before());
  chunk_graph_.run(queue_, [this] { enqueue_chunk(); });
  return buffers_.logits;
}

// Where in the cache it goes is read from the cache itself: no argument of a launch depends on it.
template <class S>
void MeanFieldPass<S>::enqueue_chunk() {
  const auto [B, R] = cache_->padding_mask.shape;
  append_rows(cache_->padding_mask.as({B, 1, R, 1}),
              buffers_.padding_mask.as({B, 1, buffers_.T, 1}), cache_->position_offset.data,
              cache_->counts.data, queue_);
  Taps taps(nullptr, list_, queue_);
  rounds(taps);
  form_logits();
}

template <class S>
bool MeanFieldPass<S>::plan(const MeanFieldShape& shape) {
  if (buffers_.B != shape.B || buffers_.T != shape.T) {
    list_ = golden::tensor_list(config_, shape.B, shape.T);
  }
  const bool planned = plan_mean_field(buffers_, arena_, *parts_, shape, cache_);
  plans_ += planned;
  return planned;
}

template <class S>
void MeanFieldPass<S>::copy_inputs(std::span<const int32_t> tokens,
                                   std::span<const uint8_t> padding_mask,
                                   std::span<const int64_t> before) {
  simt::copy_in(buffers_.tokens.data, tokens.data(), tokens.size_bytes(), queue_);
  simt::copy_in(buffers_.padding_mask.data, padding_mask.data(), padding_mask.size_bytes(), queue_);
  if (!schedule_.starts_even()) return;
  const std::vector<double> even = schedule_.even_heads(padding_mask, before);
  std::vector<A> stored;
  for (const double share : even) stored.push_back(static_cast<A>(share));
  simt::copy_in(buffers_.even.data, stored.data(), stored.size() * sizeof(A), queue_);
}

template <class S>
void MeanFieldPass<S>::rounds(Taps& taps) {
  start(taps);
  for (int64_t n = 1; n <= schedule_.pt.iterations; ++n) round(n, taps);
}

// Qz^(0) = softmax(S); Qh^(0) uniform
template <class S>
void MeanFieldPass<S>::start(Taps& taps) {
  for (int64_t m = 0; m < schedule_.pt.label_groups; ++m) {
    const View<S, 2> unary = buffers_.unary[static_cast<std::size_t>(m)];
    const View<S, 2> labels = buffers_.states_of(0, m);
    embedding(unary, weights_.unary[static_cast<std::size_t>(m)], {}, buffers_.tokens, nullptr,
              queue_);
    taps.offer(label_tensor("embed", m), unary);
    softmax_step(labels, {}, unary, 1.0, queue_);
    taps.offer(golden::round_name(0, label_tensor("labels", m)), labels);
  }
  if (!schedule_.starts_even()) return;
  for (int64_t g = 0; g < schedule_.pt.head_groups; ++g) offer_heads(0, g, 0, taps);
}

template <class S>
void MeanFieldPass<S>::round(int64_t n, Taps& taps) {
  int64_t speaking = 0;  // head groups: the first ones
  for (int64_t g = 0; g < schedule_.pt.head_groups; ++g) {
    if (!schedule_.takes_part(n, g)) continue;
    ++speaking;
    project_labels(n, g, taps);
    if (schedule_.is_updated(n, g)) update_heads(n, g, taps);
    for (int64_t m = 0; m < schedule_.pt.label_groups; ++m) {
      send_message(n, g, m);
      taps.offer(golden::round_name(n, fmt::format("message/{}", g + m)),
                 buffers_.messages[static_cast<std::size_t>(g + m)]);
    }
  }
  if (schedule_.pt.label_groups > 1) {
    for (int64_t m = 0; m < schedule_.pt.label_groups; ++m) {
      update_labels(n, m, buffers_.messages[static_cast<std::size_t>(m)], taps);
    }
    return;
  }
  add_n<S>(buffers_.sum, buffers_.message_table, speaking, nullptr, nullptr, 1.0, queue_);
  taps.offer(golden::round_name(n, "message/sum"), buffers_.sum);
  update_labels(n, 0, buffers_.sum, taps);
}

// Q_c = Qz U^(c), V_c = Qz V^(c), of the labels of the round before
template <class S>
void MeanFieldPass<S>::project_labels(int64_t n, int64_t g, Taps& taps) {
  for (int64_t m = 0; m < schedule_.pt.label_groups; ++m) {
    const auto name = [&](const char* tensor) {
      return golden::round_name(n, label_tensor(head_tensor(tensor, g), m));
    };
    const View<S, 2> labels = buffers_.states_of(n - 1, m);
    if (schedule_.needs_queries(n, g)) {
      project(buffers_.q_of(n, g + m), labels, factors(g + m).u);
      taps.offer(name("q"), buffers_.q_of(n, g + m));
    }
    project(buffers_.k_of(n, g + m), labels, factors(g + m).v);
    taps.offer(name("k"), buffers_.k_of(n, g + m));
    if (decodes()) append(cache_->k_of(n, g + m), buffers_.k_of(n, g + m));
  }
}

template <class S>
void MeanFieldPass<S>::project(View<S, 4> heads, View<const S, 2> labels, View<const S, 2> by) {
  const auto [B, KC, T, r] = heads.shape;
  gemm<S>(buffers_.wide, labels, by, {}, queue_, operands_);
  split_heads(heads, buffers_.wide.as({B, T, KC * r}), queue_);
}

template <class S>
void MeanFieldPass<S>::update_heads(int64_t n, int64_t g, Taps& taps) {
  const int64_t updates = schedule_.updates(n, g);
  const HeadOperands<S> heads = heads_of(g, updates, schedule_.damped());
  head_lse(buffers_.lse_of(g, updates - 1), heads, queue_);
  taps.offer_made(golden::round_name(n, head_tensor("scores", g)), [&] {
    const View<A, 4> out = matrix();
    head_scores(out, heads, queue_);
    return out;
  });
  offer_heads(n, g, updates, taps);
}

template <class S>
void MeanFieldPass<S>::offer_heads(int64_t n, int64_t g, int64_t updates, Taps& taps) {
  taps.offer_made(golden::round_name(n, head_tensor("heads", g)), [&] {
    const View<A, 4> out = matrix();
    head_probs(out, heads_of(g, updates, schedule_.damped() || schedule_.stepped()), queue_);
    return out;
  });
}

// G_g = sum_c Qh_c V_c U^(c)T, twice that, or with sum_c Qh_c^T Q_c V^(c)T
template <class S>
void MeanFieldPass<S>::send_message(int64_t n, int64_t g, int64_t m) {
  MeanFieldBuffers<S>& buf = buffers_;
  const HeadOperands<S> heads = heads_heard(n, g);
  const Factors<S>& w = factors(g + m);
  const int64_t N = buf.B * buf.T, P = schedule_.width();
  heads_sum(buf.context, heads, keys_of(n, g + m), false, queue_);
  View<A, 2> from_dependents;
  if (schedule_.full()) {
    dependents_sum(buf.dependents, heads, buf.q_of(n, g + m), false, queue_);
    from_dependents = buf.dependents.as({N, P});
  }
  gemm_nn_sum(buf.messages[static_cast<std::size_t>(g + m)], buf.context.as({N, P}), w.u,
              from_dependents, w.v, schedule_.message_scale(), queue_);
}

template <class S>
void MeanFieldPass<S>::update_labels(int64_t n, int64_t m, View<const S, 2> sum, Taps& taps) {
  const auto group = static_cast<std::size_t>(m);
  const View<S, 2> scores = buffers_.scores_of(n, m), labels = buffers_.states_of(n, m);
  label_scores(scores, buffers_.label_message[group], buffers_.unary[group], sum,
               schedule_.pt.label_damping, n == 1, 1 / schedule_.pt.lambda_z, queue_);
  taps.offer(golden::round_name(n, label_tensor("label_scores", m)), scores);
  softmax_step(labels, buffers_.states_of(n - 1, m), scores, schedule_.pt.label_step, queue_);
  taps.offer(golden::round_name(n, label_tensor("labels", m)), labels);
}

// logits = sum over label groups of what the output layer makes of each
template <class S>
void MeanFieldPass<S>::form_logits() {
  MeanFieldBuffers<S>& buf = buffers_;
  if (schedule_.pt.label_groups == 1) {
    gemm<S>(buf.logits, read(0), weights_.output[0], {}, queue_, operands_);
    return;
  }
  gemm<S>(buf.wide_logits, read(0), weights_.output[0], {}, queue_, operands_);
  for (int64_t m = 1; m < schedule_.pt.label_groups; ++m) {
    gemm<S>(buf.term, read(m), weights_.output[static_cast<std::size_t>(m)], {}, queue_, operands_);
    accumulate(buf.wide_logits, buf.term, 1.0, queue_);
  }
  scaled(buf.logits, buf.wide_logits, 1.0, queue_);
}

template <class S>
View<const S, 2> MeanFieldPass<S>::read(int64_t m) {
  const int64_t N = schedule_.pt.iterations;
  const View<S, 2> rows =
      schedule_.reads_scores() ? buffers_.scores_of(N, m) : buffers_.states_of(N, m);
  if (!decodes()) return rows;
  last_rows<S>(buffers_.last, rows.as({buffers_.B, buffers_.T, schedule_.labels}),
               cache_->counts.data, queue_);
  return buffers_.last;
}

template <class S>
HeadOperands<S> MeanFieldPass<S>::heads_of(int64_t g, int64_t updates, bool history) const {
  const auto group = static_cast<std::size_t>(g);
  const int64_t first = history || updates == 0 ? 0 : updates - 1;
  const MeanFieldBuffers<S>& buf = buffers_;
  return {.q = buf.q_table[group] + first * schedule_.pt.label_groups,
          .k = buf.k_table[group] + first * schedule_.pt.label_groups,
          .lse = buf.lse_table[group] + first,
          .even = schedule_.starts_even() ? buf.even : View<A, 2>{},
          .padding_mask = decodes() ? cache_->padding_mask : buf.padding_mask,
          .position_offset = decodes() ? cache_->position_offset.data : nullptr,
          .offsets = buf.offsets,
          .updates = updates - first,
          .terms = schedule_.pt.label_groups,
          .channels = schedule_.pt.channels,
          .rank = schedule_.pt.rank,
          .scale = 1 / schedule_.pt.lambda_h,
          .damping = schedule_.pt.head_damping,
          .step = schedule_.pt.head_step,
          .causal = schedule_.pt.causal_heads,
          .window = schedule_.window,
          .blocks = decodes() ? cache_->block_table : BlockTable{}};
}

template <class S>
View<accum_t<S>, 4> MeanFieldPass<S>::matrix() {
  View<A, 4> out;
  matrix_arena_.plan([&](Carver& carver) {
    out = carver.view<A>({buffers_.B, schedule_.pt.channels, buffers_.T, buffers_.T});
  });
  return out;
}

#define ASSAY_INSTANTIATE(S) template class MeanFieldPass<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
