// The backward pass of the Probabilistic Transformer: gradients of the loss with respect to every
// weight, from what a forward pass with `save_for_backward` left in the buffers. Rounds are taken
// from the last to the first.
//
// Of a round: the labels' softmax and damping; every message, which gives gradients with respect to
// its values q and k through the heads, and du, dv, of which the gradient with respect to the heads
// is made; the heads' softmax of the group that the round updated; the projections. What a softmax
// gets from later rounds through step sizes and dampings is formed with it, from du and dv of those
// rounds: no [T,T] array exists.
// Gradients of labels and weights are accum_t<S>; they are rounded to S where a gemm reads them.
#pragma once

#include <string>
#include <vector>

#include "cuda_impl/engine/mean_field/mean_field_pass.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
class MeanFieldBackward {
  using A = accum_t<S>;

 public:
  explicit MeanFieldBackward(MeanFieldPass<S>& pass) : pass_(pass) {}
  // Returns the loss. receive is called for every weight.
  double run(const ReceiveGradient& receive);
  // The gradients, all 0. They keep their places.
  const FactorArrays<A>& clear();
  // Adds to them `scale` times those of loss().
  void add_gradients(double scale);
  View<const A, 1> loss() const { return pass_.buffers_.loss; }  // [1], of the last forward pass

  int64_t allocations() const {
    return gradient_arena_.allocations() + scratch_arena_.allocations();
  }
  std::size_t bytes() const { return gradient_arena_.bytes() + scratch_arena_.bytes(); }

 private:
  // Arrays for one [B,T]; N = B*T, P = K*C*r.
  struct Scratch {
    int64_t B = 0, T = 0;
    int64_t plan = 0;  // of the pass: its arrays stand in tables
    std::vector<View<A, 2>> d_labels, d_message, d_unary, d_read;  // [N,D], by label group
    std::vector<View<S, 2>> rounded;                               // [N,D]: d message/g
    std::vector<View<A, 3>> d_q, d_k;                              // [B,T,P], by label group
    std::vector<std::vector<View<S, 4>>> du, dv;                   // by round from 1, by group
    std::vector<std::vector<View<A, 3>>> delta;                    // [B,C,T], by head group, update
    View<S, 2> wide;                                               // [N,P]
    View<A, 1> counted;
    // Device tables by head group: of rounds [rounds, label groups], [updates, rounds], [updates].
    std::vector<const S**> used_q, used_k, du_table, dv_table;
    std::vector<A*> weights;
    std::vector<const A**> delta_table;
  };

  void prepare();  // the scratch
  void carve_scratch(Scratch& x, Carver& carver) const;
  void fill_tables(int64_t g);
  void head(double scale);  // to d_read and, where labels are read, d_labels
  void round(int64_t n);
  void labels(int64_t n, int64_t m);                  // from d_labels to rounded = d message
  void message(int64_t n, int64_t g, int64_t m);      // from rounded to du, dv, d_q, d_k
  void heads(int64_t n, int64_t g);                   // from du, dv to d_q, d_k
  void projections(int64_t n, int64_t g, int64_t m);  // from d_q, d_k to d_labels
  void unary(int64_t m);

  // sum [P,D] += x^T rounded_m, x [B,T,P] rounded to S
  void add_outer(View<A, 2> sum, View<const A, 3> x, View<const S, 2> y);
  HeadUses<S> uses_of(int64_t g, int64_t first) const;
  template <int R>
  void zero(View<A, R> view) {
    std::size_t count = sizeof(A);
    for (const int64_t extent : view.shape) count *= static_cast<std::size_t>(extent);
    simt::device_zero(view.data, count, pass_.queue_);
  }

  MeanFieldPass<S>& pass_;
  Arena gradient_arena_, scratch_arena_;
  FactorArrays<A> gradients_;
  Scratch scratch_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
