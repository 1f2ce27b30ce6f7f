// The arrays of a pass of mean-field updates for one [B,T], and the tables that stay as long as
// that shape does. In decoding the T positions are those of a chunk, and the cache has the keys.
#pragma once

#include <vector>

#include "cuda_impl/engine/mean_field/mean_field_cache.h"
#include "cuda_impl/engine/mean_field/mean_field_schedule.h"
#include "cuda_impl/engine/memory/arena.h"
#include "cuda_impl/kernels/mean_field.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// What the buffers are laid out for.
struct MeanFieldShape {
  int64_t B = 0, T = 0;
  bool save_for_backward = false;  // for a backward pass too
};

// N = B*T, P = K*C*r. Heads are rebuilt from q, k and lse wherever they are used, and the rounds
// that step sizes, dampings and updates in turn look back at may be any: so q, k and lse stay for
// every round, some 2 N P scalars; in decoding k goes to the cache. No [T,T] array is kept. What a
// backward pass reads besides is kept with `save_for_backward`: labels and their scores of every
// round.
template <class S>
struct MeanFieldBuffers {
  using A = accum_t<S>;
  int64_t B = 0, T = 0;

  View<int32_t, 2> tokens, labels;  // [B,T]
  View<uint8_t, 2> padding_mask;    // [B,T]
  View<int32_t, 2> offsets;         // [K,2]
  View<A, 2> even;                  // [B,T]: MeanFieldSchedule::even_heads

  // By label group; of the rounds' tensors the last index is the label group.
  std::vector<View<S, 2>> unary;          // [N,D]
  std::vector<View<A, 2>> label_message;  // [N,D], not rounded; null without damping
  std::vector<std::vector<View<S, 2>>>
      label_states;  // [N,D], by round from 0 (save_for_backward) or in turn
  std::vector<std::vector<View<S, 2>>>
      label_scores;                  // [N,D], by round from 1 (save_for_backward) or one in all
  std::vector<View<S, 2>> messages;  // [N,D], by group
  View<S, 2> sum;                    // [N,D]

  // By round from 1, then by group; in decoding one k for all rounds.
  std::vector<std::vector<View<S, 4>>> q, k;  // [B,K*C,T,r]
  // By head group, then by update.
  std::vector<std::vector<View<A, 3>>> lse;  // [B,C,T]

  View<A, 2> wide;                 // [N,P]: projections before they are split into heads
  View<A, 3> context, dependents;  // [B,T,P]: what heads_sum and dependents_sum give
  View<S, 2> last;                 // [B,D]: in decoding what the output layer reads
  View<S, 2> logits;               // [N,V]; in decoding [B,V], behind each row's last position
  View<A, 2> wide_logits, term;    // the same, of several label groups
  View<A, 2> losses;               // [B,T]
  View<A, 1> loss;                 // [1]

  // Device tables by head group: of its updates [updates, label groups], and the updates' lse.
  std::vector<const S**> q_table, k_table;
  std::vector<const A**> lse_table;
  const S** message_table = nullptr;

  bool saved_for_backward = false;  // for a backward pass
  int64_t cache_moves = 0;          // of the cache, when the tables were filled

  View<S, 2>& states_of(int64_t round, int64_t m) {
    auto& rounds = label_states;
    return rounds[static_cast<std::size_t>(round) % rounds.size()][static_cast<std::size_t>(m)];
  }
  View<S, 2>& scores_of(int64_t round, int64_t m) {
    auto& rounds = label_scores;
    return rounds[static_cast<std::size_t>(round - 1) % rounds.size()][static_cast<std::size_t>(m)];
  }
  View<S, 4>& q_of(int64_t round, int64_t group) {
    return q[static_cast<std::size_t>(round - 1)][static_cast<std::size_t>(group)];
  }
  View<S, 4>& k_of(int64_t round, int64_t group) {
    return k[static_cast<std::size_t>(round - 1) % k.size()][static_cast<std::size_t>(group)];
  }
  View<A, 3>& lse_of(int64_t g, int64_t update) {
    return lse[static_cast<std::size_t>(g)][static_cast<std::size_t>(update)];
  }
};

// Lays the buffers out in the arena, for decoding with a cache, and fills the tables. Returns
// false, with nothing done, if they stand already.
template <class S>
bool plan_mean_field(MeanFieldBuffers<S>& buffers, Arena& arena, const MeanFieldParts<S>& parts,
                     const MeanFieldShape& shape, const MeanFieldCache<S>* cache);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
