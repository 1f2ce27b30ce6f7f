// The backward pass of a stacked recompute (stacked_recompute.h). From d [N,D], the gradient with
// respect to the sum that a method adds in layer l, and with w_j the weight of term j:
//   e_j = w_j d                          one array for all j, unless weights are learned
//   methods 1, 3.x, in stacks of gemms, one norm:
//     d act_j = e_j W_down_j,  d gate_j and d up_j of it,
//     d z_j = d gate_j W_gate_j + d up_j W_up_j,
//     e_j = d o_j = d z_j through mlp_norm_j,  d X_l += sum_j d o_j
//   d context_j = e_j Wo_j               a stack of gemms
//   d v_j, and shares of d Q_j and d K_j by attention_backward, j after j
//   d n += [d v_0 .. d v_{l-1}] [Wv_0 diag(g_0); ..]     one gemm: the sum over j lies in its inner
//                                                      dimension
//   d X_l += d n through the norm without a gain, once for all j
// What the forward pass made of a group of layers is formed again from X_l. Gradients of weights
// come in stacks too; those of the folded Wv_j diag(g_j) are added up over all l, and Wv_j and g_j
// get theirs at the end. Of S are rounded: e, d act, d gate, d up, d context and d v.
#pragma once

#include <memory>

#include "cuda_impl/engine/blocks/stacked_recompute.h"
#include "cuda_impl/engine/memory/arena.h"
#include "cuda_impl/engine/weights/gradients.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Takes (L-1) Hkv Dh (D + 1) A for the folded weights' gradients; for each of the N positions D (S
// + 2 A), and for every layer of a group, which has as many as the forward pass's,
//   Hkv Dh S + H Dh S + H A,  of methods that run MLPs again F S + 2 (D + 1) A,
//   with learned weights 2 D S,
// where S and A are the sizes of a scalar of S and of accum_t<S>; and what sums over rows are
// formed in.
template <class S>
class StackedBackward {
 public:
  using A = accum_t<S>;

  // Of the sum over layers 0 .. l-1.
  struct Input {
    typename StackedRecompute<S>::Input forward;  // own and probs are not read
    View<const A, 2> d;                           // [N,D]
    View<A, 2> d_stream;                          // d X_l [N,D]; added to
    A* const* d_q = nullptr;                      // device tables [L], of [B,H,T,Dh] and
    A* const* d_k = nullptr;                      // [B,Hkv,T,Dh]; added to. null: detached
  };

  StackedBackward(std::shared_ptr<const Parts<S>> parts, StackedRecompute<S>& recompute);
  // The recompute has been planned for the same [B,T].
  void plan(int64_t B, int64_t T);

  // clear(), then add() for every l that runs earlier layers again, then epilogue(): the gradients
  // of these layers' weights and of layer l's mix have been added.
  void clear();
  void add(const WeightGradients<A>& gradients, const Input& input);
  void epilogue(const WeightGradients<A>& gradients);

  std::size_t bytes() const { return arena_.bytes(); }
  int64_t allocations() const { return arena_.allocations(); }

 private:
  using Group = typename StackedRecompute<S>::Group;
  using Affines = AffineGradient<A> LayerGradients<A>::*;

  void carve(Carver& carver);
  // Of one group, from what the recompute has formed of it.
  void mix(const WeightGradients<A>& gradients, const Input& input, const Group& group);
  void weigh(const Input& input, const Group& group);  // e
  void run_mlps(const WeightGradients<A>& gradients, const Input& input, const Group& group);
  void mlp_norms(const WeightGradients<A>& gradients, const Input& input, const Group& group);
  void attend(const Input& input, const Group& group);
  void form_values(const Input& input, const Group& group);
  void normalise(const Input& input);

  // dx_j [N,K] (+)= dy_j [N,M] w_j for the group's layers; `by` is the weight of layer 0, dy_stride
  // lies between the dy_j.
  template <class Out>
  void back(Out* dx, const S* dy, int64_t dy_stride, const Affine<S>& by, const Group& group,
            bool accumulate);
  // dw_j += dy_j^T x_j, and of a bias
  void affine(const WeightGradients<A>& gradients, Affines weight, const S* dy, int64_t dy_stride,
              const S* x, const Group& group);

  bool pre_norm() const { return config_.norm == golden::NormPosition::pre; }
  bool llama() const { return config_.block == golden::BlockKind::llama; }
  bool learned() const { return parts_->method.combine == Combine::learned_mean; }
  const LayerWeights<S>& first_layer() const { return parts_->weights.layers[0]; }
  int64_t N() const { return B_ * T_; }
  int64_t KV() const { return config_.num_key_value_heads * config_.head_dim; }
  // From one e_j to the next.
  int64_t e_stride() const { return learned() ? N() * config_.hidden_size : 0; }

  std::shared_ptr<const Parts<S>> parts_;
  const golden::ModelConfig& config_;
  const StackedWeights<S>& weights_;
  StackedRecompute<S>& recompute_;
  const Stream queue_;
  Arena arena_;
  int64_t B_ = 0, T_ = 0;
  View<A, 2> d_folded_;       // [(L-1)*Hkv*Dh,D]
  View<A, 1> d_folded_bias_;  // [(L-1)*Hkv*Dh]
  View<A, 2> d_normalised_;   // [N,D]
  View<A, 2> d_x_;            // [N,D]
  View<A, 2> unused_;         // [2,D], of the norm without a gain
  View<S, 2> e_, terms_;      // [N,D], [G*N,D] with learned weights; terms_ only then
  View<S, 2> d_act_;          // [G*N,F]
  View<A, 2> d_z_, d_sum_;    // [G*N,D]
  View<S, 2> d_context_;      // [G*N,H*Dh]
  View<A, 3> delta_;          // [G*B,H,T]
  View<A, 4> d_v_;            // [B,Hkv,T,Dh], of one layer
  View<S, 2> wide_d_v_;       // [N,G*Hkv*Dh]
  View<A, 2> statistics_, norm_parts_, bias_parts_;
  View<A, 1> row_parts_;  // [N]
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
