// The layers of the Llama and the GPT-2 block with the methods of docs/methods.md: of
// whole sequences, or in decoding of the next positions behind what a cache holds.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cuda_impl/engine/blocks/dropout_masks.h"
#include "cuda_impl/engine/blocks/stacked_recompute.h"
#include "cuda_impl/engine/cache/cache.h"
#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/engine/memory/arena.h"
#include "cuda_impl/engine/memory/buffers.h"
#include "cuda_impl/engine/memory/taps.h"
#include "cuda_impl/engine/weights/parts.h"
#include "golden/contract/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
class Backward;

// Everything is allocated at the first pass of the largest shape; later passes only launch.
template <class S>
class ForwardPass {
 public:
  using Scalar = S;
  using OwnParts = Parts<S>;
  using OwnCache = Cache<S>;

  // With a cache (which outlives the pass) for chunks, without one for whole sequences.
  explicit ForwardPass(std::shared_ptr<const Parts<S>> parts, const Cache<S>* cache = nullptr);

  // Computes every tensor of golden::tensor_list in order; with `save_for_backward` up to the last
  // stream, and what a backward pass reads stays in the buffers: logits and loss are its to form.
  // The backward pass behind it drops what this one has dropped.
  void run(const Batch& batch, Probe* probe, bool save_for_backward,
           const DropoutPlace& dropout = {});
  // Puts a chunk that stands at the cache's positions into the cache. Returns the logits [B,V]
  // behind each row's last position.
  View<const S, 2> run(const Chunk& chunk);

  // Whether attention rounds probabilities to S before they meet their values: on tensor cores, or
  // where a recompute of some batch reads stored ones; it is said of the layers' own attention and
  // of larger batches too.
  bool rounds_probs() const;
  std::size_t bytes() const {
    return arena_.bytes() + matrix_arena_.bytes() + logits_arena_.bytes() +
           (stacked_ == nullptr ? 0 : stacked_->bytes());
  }
  int64_t allocations() const {
    return arena_.allocations() + matrix_arena_.allocations() + logits_arena_.allocations() +
           (stacked_ == nullptr ? 0 : stacked_->allocations());
  }

 private:
  using A = accum_t<S>;

  friend class Backward<S>;

  void run_layers(Taps& taps);
  // False if the buffers stood already: every launch has the arguments it had in the last pass.
  bool plan(const PassShape& shape);
  void enqueue_chunk();
  // Behind a pass that keeps less than all: forms what a backward pass reads of layer l, from its
  // input, with the bits that the pass had.
  void run_again(int64_t l);
  // With Keep::inputs: what A_j is rebuilt from, from the input of layer j.
  void form_scores_again(int64_t j);
  void attend(int64_t l, Taps& taps);
  void attend_in_parts(int64_t l, const ScoreOperands<S>& scores, View<S, 4> values);
  void project(int64_t l, View<const S, 2> input, Taps& taps);
  void append_kv(int64_t l);
  // The sizes of layer l's dynamic windows; nothing where it has none.
  void size_windows(int64_t l, Taps& taps);
  template <class T>
  void append(View<T, 4> cache, View<T, 4> rows) {
    append_rows(cache, rows, cache_->position_offset.data, cache_->counts.data, queue_,
                cache_->ring, cache_->block_table);
  }
  void form_score_factors(int64_t l, View<const S, 2> input);
  void add_attention(int64_t l, Taps& taps);
  void run_mlp(int64_t l, Taps& taps);
  void recompute_attention(int64_t l, int64_t j, View<S, 2> out, Taps& taps);
  void recompute_mlp(int64_t l, int64_t j, Taps& taps);
  // O_l or U_l where it enters the stream; nothing without dropout.
  void drop(int64_t l, const char* branch, View<S, 2> own);
  DropoutMask mask_of(int64_t l, const char* branch) const {
    return dropout_.mask(l, branch, buffers_.T * config_.hidden_size);
  }
  void layer_epilogue(int64_t l, Taps& taps);
  void epilogue(Taps& taps);
  // The final norm of rows of the last stream, in attn_norm; without one the rows themselves.
  View<const S, 2> final_norm(View<const S, 2> rows);
  void form_logits(View<S, 2> logits, View<const S, 2> read);
  View<S, 2> all_logits();  // [N,V]
  // tile(first, logits) for the positions [first, first + n) after each other; logits [n,V] are
  // formed.
  template <class Tile>
  void for_head_tiles(View<const S, 2> read, const Tile& tile) {
    const auto [N, D] = read.shape;
    const auto [rows, V] = buffers_.logits.shape;
    for (int64_t first = 0; first < N; first += rows) {
      const int64_t n = std::min(rows, N - first);
      const View<S, 2> logits{buffers_.logits.data, {n, V}};
      form_logits(logits, {read.data + first * D, {n, D}});
      tile(first, logits);
    }
  }

  bool decodes() const { return cache_ != nullptr; }
  const int32_t* position_offset() const {
    return decodes() ? cache_->position_offset.data : nullptr;
  }
  bool pre_norm() const { return config_.norm == golden::NormPosition::pre; }
  // Of the tensor that the MLP reads: its norm stands behind the attention's residual.
  const char* mlp_input_name() const { return pre_norm() ? "mlp_norm" : "attn_norm"; }
  bool llama() const { return config_.block == golden::BlockKind::llama; }
  const LayerWeights<S>& layer(int64_t l) const {
    return weights_.layers[static_cast<std::size_t>(l)];
  }
  View<S, 2> recompute_out(int64_t j) {
    return buffers_.recompute_out[static_cast<std::size_t>(j)];
  }
  View<S, 2> stream(int64_t l) { return at(buffers_.stream, l); }  // X_l [N,D]

  // y = norm(x), or with an addend norm(x + addend): RMSNorm or LayerNorm as the block has it.
  void norm(View<S, 2> y, View<const S, 2> x, View<const S, 2> addend, const Norm<S>& by);
  // sum = x + addend, y = norm(sum)
  void add_norm(View<S, 2> sum, View<S, 2> y, View<const S, 2> x, View<const S, 2> addend,
                const Norm<S>& by);
  template <class Out>
  void linear(View<Out, 2> y, View<const S, 2> x, const Affine<S>& by) {
    gemm<S>(y, x, by.weight, by.bias, queue_, parts_->operands);
  }
  // heads [B,H,T,Dh] of x [N,D], rotated or not
  void project_heads(View<S, 4> heads, View<const S, 2> x, const Affine<S>& by, bool rotate);
  // Heads of q or k of layer l, turned, and where the model norms them from their projections,
  // which go to `plain`.
  void project_scored(int64_t l, const char* tensor, View<S, 4> plain, View<S, 4> heads,
                      View<const S, 2> x, const Affine<S>& by, const Norm<S>& norm, Taps& taps);
  // buffers_.sum = what a method adds at its site in layer l; own is the layer's own output.
  void form_sum(int64_t l, View<const S, 2> own, Taps& taps);
  // y = that sum, with the residual and the layer's own output where the method keeps them
  void add_sum(View<S, 2> y, View<const S, 2> residual, View<const S, 2> own);

  // What layer l attends with: its own q and k, or those of layers 0 .. l.
  ScoreOperands<S> scores_of(int64_t l) const;
  // What layer j attended with and its lse [B,H,T], for a later layer that runs it again.
  ScoreOperands<S> stored_scores_of(int64_t j) const;
  View<A, 3> stored_lse_of(int64_t j) const {
    return buffers_.forms_again() ? buffers_.again_lse : at(buffers_.lse, j);
  }
  Coefficients<A> gate_coefficients(int64_t l) const;
  View<A, 4> matrix();  // [B,H,T,T], for a tap

  std::shared_ptr<const Parts<S>> parts_;
  const golden::ModelConfig& config_;
  const Method& method_;
  const Weights<S>& weights_;
  const ScoreCoefficients<S>& score_coefficients_;
  const Mix<S>& mix_;
  const Stream queue_;
  const Cache<S>* cache_;
  int64_t cache_moves_ = 0;  // of the cache, when the last chunk was read
  // For [B,H,T,T] and [N,V], only if a probe ever wants one.
  Arena arena_, matrix_arena_, logits_arena_;
  Buffers<S> buffers_;
  DropoutPlace dropout_;                          // of the last pass
  std::unique_ptr<StackedRecompute<S>> stacked_;  // null: earlier layers run one after the other
  std::vector<golden::TensorInfo> list_;          // what a pass of the planned shape computes
  simt::LaunchGraph chunk_graph_;                 // of chunks of the planned shape
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
