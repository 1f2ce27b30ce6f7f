// A step of decoding: a chunk's positions behind those of a cache.
#include "cuda_impl/engine/blocks/forward_pass.h"
#include "cuda_impl/kernels/attention/attention_variants.h"
#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
View<const S, 2> ForwardPass<S>::run(const Chunk& chunk) {
  const PassShape shape{.B = cache_->padding_mask.shape[0],
                        .T = chunk.positions,
                        .R = cache_->positions,
                        .decode = true,
                        .options = parts_->options};
  if (plan(shape) || cache_moves_ != cache_->moves()) chunk_graph_.forget();
  cache_moves_ = cache_->moves();
  simt::copy_in(buffers_.tokens.data, chunk.tokens.data(), chunk.tokens.size_bytes(), queue_);
  simt::copy_in(buffers_.padding_mask.data, chunk.attention_mask.data(),
                chunk.attention_mask.size_bytes(), queue_);
  chunk_graph_.run(queue_, [this] { enqueue_chunk(); });
  return buffers_.logits;
}

// Where in the cache it goes is read from the cache itself: no argument of a launch depends on it.
template <class S>
void ForwardPass<S>::enqueue_chunk() {
  const int64_t B = buffers_.B, C = buffers_.T;
  append_rows(cache_->padding_mask.as({B, 1, cache_->padding_mask.shape[1], 1}),
              buffers_.padding_mask.as({B, 1, C, 1}), cache_->position_offset.data,
              cache_->counts.data, queue_, cache_->ring);
  Taps taps(nullptr, list_, queue_);
  run_layers(taps);
  last_rows(buffers_.last, stream(config_.num_hidden_layers).as({B, C, config_.hidden_size}),
            cache_->counts.data, queue_);
  form_logits(buffers_.logits, final_norm(buffers_.last));
}

// What the queries of later chunks read of layer l.
template <class S>
void ForwardPass<S>::append_kv(int64_t l) {
  append(at(cache_->k, l), at(buffers_.k, l));
  append(at(cache_->v, l), at(buffers_.v, l));
  if (!method_.gated_scores) return;
  const int64_t outputs = at(cache_->factors, l).shape[3];
  append(at(cache_->factors, l),
         View<A, 4>{buffers_.score_factors.data, {buffers_.B, 1, buffers_.T, outputs}});
}

template <class S>
void ForwardPass<S>::attend_in_parts([[maybe_unused]] int64_t l,
                                     [[maybe_unused]] const ScoreOperands<S>& scores,
                                     [[maybe_unused]] View<S, 4> values) {
  if constexpr (simt::HookedScalar<S>) {
    throw Unsupported("keys in parts: the kernel is not built for this scalar");
  } else {
    const auto span = static_cast<int64_t>(parts_->options.key_span);
    const int64_t parts = attention_parts(scores.positions, scores.window, scores.sinks, span);
    const View<A, 3> partial{buffers_.partial.data,
                             {buffers_.B * scores.H, parts, config_.head_dim + 2}};
    attention_split<S>(at(buffers_.context, l), at(buffers_.lse, l), partial, scores, values, span,
                       queue_);
  }
}

#define ASSAY_INSTANTIATE(S)                                   \
  template View<const S, 2> ForwardPass<S>::run(const Chunk&); \
  template void ForwardPass<S>::append_kv(int64_t);            \
  template void ForwardPass<S>::attend_in_parts(int64_t, const ScoreOperands<S>&, View<S, 4>);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
