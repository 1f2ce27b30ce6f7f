// Which round of mean-field updates (golden/contract/prob_transformer.h) updates and uses which
// heads, as numbers that the engine indexes its arrays with.
#pragma once

#include <span>
#include <vector>

#include "cuda_impl/simt/backend.h"
#include "golden/contract/config.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Rounds count from 1, updates from 0.
class MeanFieldSchedule {
 public:
  explicit MeanFieldSchedule(const golden::ModelConfig& config)
      : pt(golden::prob_transformer_of(config)),
        labels(config.hidden_size),
        window(config.window) {}

  const golden::ProbTransformer pt;
  const int64_t labels;  // D
  const int64_t window;  // centred; 0: none

  int64_t distances() const { return golden::distance_groups(pt); }  // K
  int64_t heads() const { return distances() * pt.channels; }        // K*C
  int64_t width() const { return heads() * pt.rank; }                // K*C*r
  int64_t groups() const { return pt.head_groups * pt.label_groups; }

  // Whether head group g sends messages in round n, and whether that round updates its heads. In
  // turn, group g joins in round g + 1, its first own one; its own come every head_groups rounds.
  bool takes_part(int64_t n, int64_t g) const { return !in_turn() || n > g; }
  bool is_updated(int64_t n, int64_t g) const {
    return !in_turn() || n % pt.head_groups == (g + 1) % pt.head_groups;
  }
  // Whether the group's q is read in round n: by the update, or by the messages of dependents.
  bool needs_queries(int64_t n, int64_t g) const { return full() || is_updated(n, g); }
  // Whether heads are read that no round has made: by a step that looks back, or by messages that
  // are sent before the update.
  bool starts_even() const { return stepped() || sync(); }

  // How many updates of head group g rounds 1 .. n contain.
  int64_t updates(int64_t n, int64_t g) const;
  // As many as have made the heads that group g's message in round n is sent with.
  int64_t updates_heard(int64_t n, int64_t g) const;
  // How much of update i's softmax is in those heads; 0 where the group sends none.
  double share(int64_t i, int64_t n, int64_t g) const;

  bool in_turn() const { return pt.updates == golden::ProbTransformer::Updates::in_turn; }
  bool sync() const { return pt.schedule == golden::ProbTransformer::Schedule::sync; }
  bool damped() const { return pt.head_damping != 0; }
  bool stepped() const { return pt.head_step != 1; }
  bool full() const { return pt.message == golden::ProbTransformer::Message::full; }
  // What gemm_nn_sum multiplies a message by.
  double message_scale() const {
    return pt.message == golden::ProbTransformer::Message::symmetric ? 2.0 : 1.0;
  }
  bool reads_scores() const { return pt.read == golden::ProbTransformer::Read::scores; }
  // From a position to the label that it predicts.
  int label_shift() const { return pt.output == golden::ProbTransformer::Output::causal ? 1 : 0; }

  // [K,2]: first and last s - t of every distance group.
  std::vector<int32_t> offsets() const;
  // [B,T] of padding_mask [B,T]: 1 / how many words can be the head of t, 0 where none can. before
  // [B]: how many words stand ahead of a row's first position.
  std::vector<double> even_heads(std::span<const uint8_t> padding_mask,
                                 std::span<const int64_t> before) const;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
