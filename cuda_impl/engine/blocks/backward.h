// The backward pass: gradients of the loss with respect to every weight, from what a forward pass
// with `save_for_backward` left in the buffers. Layers are taken from the last to the first; of
// each, norms, MLP and all recomputes of earlier layers are formed again from the stored streams,
// and no [T,T] array exists.
//
// A layer j that is run again in layers l > j gets its share of dQ_j, dK_j (through A_j, unless
// detached), dWv_j, dWo_j and of its MLP there; its own pass, taken last, completes dQ_j and dK_j.
// In methods 5.x layer l adds to dQ_i and dK_i of every i <= l. Where recomputes are stacked, all
// layers that are run again in layer l go at once (stacked_backward.h).
// Gradients of streams and weights are accum_t<S>; they are rounded to S where a gemm reads them.
#pragma once

#include <memory>
#include <vector>

#include "cuda_impl/engine/blocks/forward_pass.h"
#include "cuda_impl/engine/blocks/stacked_backward.h"
#include "cuda_impl/engine/weights/gradients.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
class Backward {
  using A = accum_t<S>;

 public:
  explicit Backward(ForwardPass<S>& pass);
  // Returns the loss. receive is called for every weight.
  double run(const ReceiveGradient& receive);
  // The gradients, all 0. They keep their places.
  const WeightGradients<A>& clear();
  // Adds to them `scale` times those of the loss of the last forward pass, and forms loss().
  void add_gradients(double scale);
  View<const A, 1> loss() const { return pass_.buffers_.loss; }  // [1]

  std::size_t bytes() const {
    return gradient_arena_.bytes() + scratch_arena_.bytes() +
           (stacked_ == nullptr ? 0 : stacked_->bytes());
  }
  int64_t allocations() const {
    return gradient_arena_.allocations() + scratch_arena_.allocations() +
           (stacked_ == nullptr ? 0 : stacked_->allocations());
  }

 private:
  // Arrays for one [B,T], beside the gradients of the weights.
  struct Scratch {
    int64_t B = 0, T = 0;
    View<A, 2> d_next, d_stream, d_residual, d_term, d_norm;  // [N,D]
    View<S, 2> rounded;                                       // [N,D]
    View<S, 2> d_act;                                         // [N,F]
    View<S, 3> d_context;                                     // [B,T,H*Dh]
    View<S, 3> d_heads;                                       // [B,T,H*Dh]
    View<A, 3> delta;                                         // [B,H,T]
    View<A, 4> d_v;                                           // [B,Hkv,T,Dh]
    std::vector<View<A, 4>> d_q, d_k;                         // [L] of [B,H,T,Dh], [B,Hkv,T,Dh]
    A **d_q_table = nullptr, **d_k_table = nullptr;           // the same as device tables
    View<A, 4> coefficient_parts;                             // [L,B,H,coefficient_parts(T)]
    View<A, 4> d_proj;                                        // [B,H,T,Dh], of normed heads
    View<A, 2> head_statistics, head_parts;                   // of their norms
    View<A, 2> statistics, norm_parts, bias_parts;
    View<A, 2> d_factors;      // [N,L], of methods with a gate
    GateGradientRows<A> gate;  // for m = L
    View<A, 1> counted, row_parts;
    View<int32_t, 1> position_ids;  // [N]: t
  };

  void prepare();  // the scratch
  void carve_scratch(Scratch& x, Carver& carver) const;
  void fill_tables();
  void head(double scale);   // to d_next = scale * dX_L
  void mlp_site(int64_t l);  // from d_next = dX_{l+1} to d_residual = dY_l and part of d_stream
  void attention_site(int64_t l);  // from d_residual to d_next = d_stream = dX_l
  void embed();

  // What stands at a site beside the residual: the layer's own output, in d_next or d_residual.
  void own_mlp(int64_t l, double weight);
  void own_attention(int64_t l, double weight);
  // Layers 0 .. l-1, from d, the gradient with respect to what the method adds.
  void recompute_layers(int64_t l, View<const A, 2> d);
  void recompute_mlp(int64_t l, int64_t j);
  void recompute_attention(int64_t l, int64_t j);
  // Forms h, v and context of layer j run again in layer l; returns h [N,D].
  View<const S, 2> recompute_context(int64_t l, int64_t j);
  // From rounded = d o_{j>l}: adds to d_stream.
  void recompute_epilogue(int64_t l, int64_t j, View<const S, 2> h);

  // The parts of backward_parts.cpp. rounded is the gradient with respect to the output.
  // d_norm = the gradient with respect to the MLP's input [N,D]; the MLP's output goes to `out` if
  // it has data.
  void mlp(const LayerWeights<S>& w, LayerGradients<A>& g, View<const S, 2> input, View<S, 2> out);
  // d_v, and shares of d_q and d_k, of one use of layer l's probabilities: context = A_l v.
  void attend(int64_t l, const Affine<S>& wo, AffineGradient<A>& g, View<const S, 4> v,
              View<const S, 3> context, bool own);
  // d_norm (+)= d heads Wx, from the gradient of heads [B,*,T,Dh]
  void project(View<const A, 4> d_heads, bool rotated, const Affine<S>& w, AffineGradient<A>& g,
               View<const S, 2> input, bool add);
  // The same of turned heads of q or k [B,*,T,Dh], which it may write over; with a norm from the
  // projections `plain`.
  void project_scored(View<A, 4> d_heads, View<const S, 4> plain, const Norm<S>& norm,
                      NormGradient<A>& d_norm, const Affine<S>& w, AffineGradient<A>& g,
                      View<const S, 2> input, bool add);
  // d_term = the gradient with respect to x of norm(x), or to both of norm(x + addend)
  void norm(View<const A, 2> dy, View<const S, 2> x, View<const S, 2> addend, const Norm<S>& w,
            NormGradient<A>& g);
  void affine(AffineGradient<A>& g, View<const S, 2> dy, View<const S, 2> x);  // dw, db += ..
  // From d_factors: the gate's gradients, and adds to d_norm, the gradient with respect to h.
  void gate(int64_t l, View<const S, 2> h);
  void mix_gradient(int64_t l, int64_t term, View<const A, 2> d, View<const S, 2> value);
  void round(View<const A, 2> x, double scale);  // rounded = scale * x
  // The same of the gradient of layer l's own O_l or U_l, behind its dropout.
  void round_own(int64_t l, const char* branch, View<const A, 2> x, double scale);
  void add_to(View<A, 2> sum, View<const A, 2> x) { accumulate(sum, x, 1.0, pass_.queue_); }
  template <int R>
  void zero(View<A, R> view) {
    std::size_t count = sizeof(A);
    for (const int64_t extent : view.shape) count *= static_cast<std::size_t>(extent);
    simt::device_zero(view.data, count, pass_.queue_);
  }

  // The norm whose result the MLP reads.
  const Norm<S>& mlp_norm_of(const LayerWeights<S>& w) const {
    return pass_.pre_norm() ? w.mlp_norm : w.attn_norm;
  }
  NormGradient<A>& mlp_norm_of(LayerGradients<A>& g) const {
    return pass_.pre_norm() ? g.mlp_norm : g.attn_norm;
  }
  bool learned_mix() const { return pass_.method_.combine == Combine::learned_mean; }
  LayerGradients<A>& gradients_of(int64_t l) {
    return gradients_.layers[static_cast<std::size_t>(l)];
  }

  ForwardPass<S>& pass_;
  Arena gradient_arena_, scratch_arena_;
  WeightGradients<A> gradients_;
  Scratch scratch_;
  std::unique_ptr<StackedBackward<S>> stacked_;  // null: earlier layers run one after the other
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
