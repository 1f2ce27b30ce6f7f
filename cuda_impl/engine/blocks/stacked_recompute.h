// All earlier layers run again on the current input at once (docs/methods.md), instead of one
// after the other:
//   n = X_l normalised, without a gain: the same for every j
//   [v_0 .. v_{l-1}] = n [Wv_0 diag(g_0) .. Wv_{l-1} diag(g_{l-1})]    one gemm
//   context_j = A_j v_j                                               one replay, or of stored A_j
//   methods 2, 4.x:  sum_j w_j o_j = [w_0 context_0 ..] [Wo_0 ..]      one gemm, whose inner
//                                                                     dimension has the sum over j
//   methods 1, 3.x:  z_j = mlp_norm_j(X_l + context_j Wo_j)            a stack of gemms, one norm
//                    act_j = w_j silu(z_j W_gate_j) * (z_j W_up_j)     two stacks of gemms
//                    sum_j w_j r_j = [act_0 ..] [W_down_0 ..]          one gemm
// Nothing of a single recompute has a name here. Of S are rounded: n, the folded weights, v,
// context, o, z and act; sums over j are never.
#pragma once

#include <algorithm>
#include <memory>

#include "cuda_impl/engine/cache/cache.h"
#include "cuda_impl/engine/memory/arena.h"
#include "cuda_impl/engine/weights/parts.h"
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// The window of layer l; 0: every earlier key is visible.
inline int64_t window_of_layer(const golden::ModelConfig& config, int64_t l) {
  for (const int64_t full : config.full_layers) {
    if (full == l) return 0;
  }
  return config.window;
}

// Whether each query of layer l has a window of its own.
inline bool sizes_windows(const golden::ModelConfig& config, int64_t l) {
  return config.window_kind == golden::WindowKind::dynamic && window_of_layer(config, l) != 0;
}

// The scores of layer j from those of layer 0, whose tables the other layers' follow.
template <class S>
ScoreOperands<S> scores_of_layer(const golden::ModelConfig& config, ScoreOperands<S> scores,
                                 int64_t j) {
  scores.q += j;
  scores.k += j;
  scores.window = window_of_layer(config, j);
  scores.sinks = scores.window == 0 ? 0 : config.sink_tokens;
  return scores;
}

// How many layers from `first` on, before `end`, have one window.
inline int64_t layers_alike(const golden::ModelConfig& config, int64_t first, int64_t end) {
  int64_t next = first + 1;
  while (next < end && window_of_layer(config, next) == window_of_layer(config, first)) ++next;
  return next - first;
}

// Takes, for each of the N positions, D (S + A) bytes and for every layer of a group
//   Hkv Dh (S + A) + H Dh S,  and of methods that run MLPs again 2 D S + F (S + A + A)
// (in the GPT-2 block F (S + A)), where S and A are the sizes of a scalar of S and of accum_t<S>. A
// group has as many layers as ModelOptions::stack_bytes allows, at least one; groups follow each
// other, and the sum over j goes on from one to the next. In decoding all layers are one group.
template <class S>
class StackedRecompute {
 public:
  using A = accum_t<S>;

  // Of layers 0 .. l-1 on X_l.
  struct Input {
    int64_t l = 0;
    View<const S, 2> x;       // X_l [N,D]
    View<const S, 2> own;     // [N,D], the layer's own output at the site
    ScoreOperands<S> scores;  // of layer 0; the other layers' tables follow
    View<const A, 3> lse;     // of layer 0 [B,H,T]; those of the others lie behind it
    View<const S, 5> probs;   // [L-1,B,H,T,T] of all layers; null: rebuilt from lse
  };

  // Layers first .. first + count - 1 of those that are run again.
  struct Group {
    int64_t first = 0, count = 0;
  };

  // How the arrays of a group's layers lie: as columns of one array, or one behind the other.
  enum class Placed { side_by_side, apart };

  // What is formed of a group, of up to G layers; null what the method or the block has not.
  struct Arrays {
    View<S, 2> normalised;          // n [N,D], of all groups; null without a norm before Wv
    View<A, 2> wide_v;              // [N,G*Hkv*Dh] or [G*N,Hkv*Dh]
    View<S, 4> v;                   // [B,G*Hkv,T,Dh] or [G*B,Hkv,T,Dh]
    View<S, 2> context;             // [N,G*H*Dh] or [G*N,H*Dh]
    View<S, 2> attn_out, mlp_norm;  // [G*N,D]
    View<A, 2> gate, up;            // [G*N,F]
    View<S, 2> act;                 // [N,G*F] or [G*N,F]
  };

  StackedRecompute(std::shared_ptr<const Parts<S>> parts, const Cache<S>* cache);
  void plan(int64_t B, int64_t T);

  // sum [N,D] = what the method adds at its site in layer l >= 1, the layer's own output in it
  // where the method takes a mean.
  void form_sum(View<S, 2> sum, const Input& input);

  // For a backward pass, and not in decoding: use(group) for the groups of layers 0 .. l-1 in turn,
  // with the group's arrays formed, apart and without the terms' weights.
  template <class Use>
  void for_groups(const Input& input, const Use& use) {
    normalise(input.x);
    for (Group group; group.first < input.l; group.first += group.count) {
      group.count = std::min(group_, input.l - group.first);
      form_group(input, group, {}, Placed::apart);
      use(group);
    }
  }
  // y [count*N,D] = the terms of a group formed by for_groups: o or r, one behind the other.
  void form_terms(S* y, const Group& group);
  const Arrays& arrays() const { return arrays_; }
  int64_t group_layers() const { return group_; }  // of the largest

  std::size_t bytes() const { return arena_.bytes(); }
  int64_t allocations() const { return arena_.allocations(); }

 private:
  int64_t bytes_per_layer() const;
  void carve(Carver& carver);
  void normalise(View<const S, 2> x);
  void form_values(const Input& input, const Group& group, Placed placed);
  // The arrays of a group up to the factors of the sum, which are multiplied by the terms' weights.
  void form_group(const Input& input, const Group& group, const TermWeights<A>& terms,
                  Placed placed);
  void replay(const Input& input, const Group& group, const TermWeights<A>& terms, Placed placed);
  void run_mlps(const Input& input, const Group& group, const TermWeights<A>& terms, Placed placed);
  // y_j [N,M] = x_j w_j^T + bias_j for the group's layers; by is the weight of layer 0.
  template <class Out>
  void gemms(Out* y, const S* x, const Affine<S>& by, const Group& group);

  bool pre_norm() const { return parts_->config.norm == golden::NormPosition::pre; }
  bool llama() const { return parts_->config.block == golden::BlockKind::llama; }
  const LayerWeights<S>& first_layer() const { return parts_->weights.layers[0]; }
  int64_t N() const { return B_ * T_; }

  std::shared_ptr<const Parts<S>> parts_;
  const golden::ModelConfig& config_;
  const StackedWeights<S>& weights_;
  const Stream queue_;
  const Cache<S>* cache_;
  Arena arena_;
  int64_t B_ = 0, T_ = 0;
  int64_t group_ = 0;    // layers
  View<A, 2> wide_sum_;  // [N,D], of terms without biases
  Arrays arrays_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
