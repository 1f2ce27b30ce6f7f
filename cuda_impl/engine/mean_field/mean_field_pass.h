// The rounds of mean-field updates: over whole sequences, or in decoding over the next positions
// behind what a cache holds.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/engine/mean_field/mean_field_buffers.h"
#include "cuda_impl/engine/memory/taps.h"
#include "golden/contract/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
class MeanFieldBackward;

// Everything is allocated at the first pass of the largest shape; later passes only launch.
template <class S>
class MeanFieldPass {
 public:
  using Scalar = S;
  using OwnParts = MeanFieldParts<S>;
  using OwnCache = MeanFieldCache<S>;

  // With a cache (which outlives the pass) for chunks, without one for whole sequences.
  explicit MeanFieldPass(std::shared_ptr<const MeanFieldParts<S>> parts,
                         const MeanFieldCache<S>* cache = nullptr);

  // Computes every tensor of golden::tensor_list in order; with `save_for_backward` what a backward
  // pass reads stays in the buffers.
  void run(const Batch& batch, Probe* probe, bool save_for_backward);
  // Puts a chunk that stands at the cache's positions into the cache. Returns the logits [B,V]
  // behind each row's last position.
  View<const S, 2> run(const Chunk& chunk);

  int64_t allocations() const { return arena_.allocations() + matrix_arena_.allocations(); }
  std::size_t bytes() const { return arena_.bytes() + matrix_arena_.bytes(); }

 private:
  using A = accum_t<S>;

  friend class MeanFieldBackward<S>;

  // False if the buffers stood already: every launch has the arguments it had in the last pass.
  bool plan(const MeanFieldShape& shape);
  void copy_inputs(std::span<const int32_t> tokens, std::span<const uint8_t> padding_mask,
                   std::span<const int64_t> before);
  void enqueue_chunk();
  void rounds(Taps& taps);
  void start(Taps& taps);
  void round(int64_t n, Taps& taps);
  void project_labels(int64_t n, int64_t g, Taps& taps);
  void update_heads(int64_t n, int64_t g, Taps& taps);
  void send_message(int64_t n, int64_t g, int64_t m);
  void update_labels(int64_t n, int64_t m, View<const S, 2> sum, Taps& taps);
  void form_logits();

  // heads [B,K*C,T,r] of labels [N,D]
  void project(View<S, 4> heads, View<const S, 2> labels, View<const S, 2> by);
  template <class T>
  void append(View<T, 4> cache, View<T, 4> rows) {
    append_rows(cache, rows, cache_->position_offset.data, cache_->counts.data, queue_, {},
                cache_->block_table);
  }
  void offer_heads(int64_t n, int64_t g, int64_t updates, Taps& taps);
  View<A, 4> matrix();  // [B,C,T,T], for a tap

  // The heads of group g after `updates` updates, of which the last one alone is looked at unless
  // the others matter (`history`).
  HeadOperands<S> heads_of(int64_t g, int64_t updates, bool history) const;
  // Those that its message in round n is sent with.
  HeadOperands<S> heads_heard(int64_t n, int64_t g) const {
    return heads_of(g, schedule_.updates_heard(n, g), schedule_.damped() || schedule_.stepped());
  }
  // Where all that heads read of round n's k stands: [B,K*C,R,r].
  View<const S, 4> keys_of(int64_t n, int64_t group) {
    return decodes() ? cache_->k_of(n, group) : buffers_.k_of(n, group);
  }
  // What the output layer reads of label group m: [N,D], in decoding [B,D].
  View<const S, 2> read(int64_t m);
  bool decodes() const { return cache_ != nullptr; }
  const Factors<S>& factors(int64_t group) const {
    return weights_.factors[static_cast<std::size_t>(group)];
  }

  // With several groups a tensor of one of them ends in its number.
  std::string head_tensor(const char* tensor, int64_t g) const {
    return golden::group_name(tensor, schedule_.pt.head_groups, g);
  }
  std::string label_tensor(const std::string& tensor, int64_t m) const {
    return golden::group_name(tensor, schedule_.pt.label_groups, m);
  }

  std::shared_ptr<const MeanFieldParts<S>> parts_;
  const golden::ModelConfig& config_;
  const MeanFieldSchedule& schedule_;
  const Operands operands_;
  const FactorWeights<S>& weights_;
  const Stream queue_;
  const MeanFieldCache<S>* cache_;
  Arena arena_, matrix_arena_;  // the second for [B,C,T,T], only if a probe ever wants one
  MeanFieldBuffers<S> buffers_;
  int64_t plans_ = 0;                     // how often the buffers were laid out
  std::vector<golden::TensorInfo> list_;  // what a pass of the planned shape computes
  simt::LaunchGraph chunk_graph_;         // of chunks of the planned shape
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
