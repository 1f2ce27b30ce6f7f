// The kernels of the Probabilistic Transformer as host code calls them: messages between heads and
// labels of words, and the labels' own steps. kernels.h says what every launcher checks and does.
//
// Letters: C channels, r rank, K distance groups, D labels of a word.
#pragma once

#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// What the heads Qh [B,C,T,T] of one group are made of. Update i = 0 .. updates-1 took, by word t
// and by the word s that may be its head, of distance group k(t,s),
//   F_i  = sum_{m < terms} q[i*terms + m][k*C+c,t] . k[i*terms + m][k*C+c,s]
//   Mh_i = (1 - damping) F_i + damping Mh_{i-1},                         Mh_{-1} = 0
//   Qh_i = (1 - step) Qh_{i-1} + step exp(scale Mh_i - lse_i[t]),        Qh_{-1}[t,s] = even[t]
// s can be the head of t iff s != t (causal: s < t), with a window |s - t| <= floor(window/2), and
// both are real. Qh is 0 elsewhere.
// In decoding (head_lse and heads_sum) the words are T rows, each at position position_offset + its
// row, and their heads R positions; all else takes whole sequences.
template <class S>
struct HeadOperands {
  const S* const* q = nullptr;               // device table [updates*terms] of [B,K*C,T,r]
  const S* const* k = nullptr;               // the same, of [B,K*C,R,r]
  const accum_t<S>* const* lse = nullptr;    // device table [updates] of [B,C,T]
  View<const accum_t<S>, 2> even;            // [B,T]; null where step = 1 and updates > 0
  View<const uint8_t, 2> padding_mask;       // [B,R], 0 = padding
  const int32_t* position_offset = nullptr;  // [B]: the position of word 0; null: 0, and R = T
  View<const int32_t, 2> offsets;  // [K,2]: group k has the pairs with s - t in [first, last]
  int64_t updates = 1, terms = 1, channels = 1, rank = 0;
  double scale = 1, damping = 0, step = 1;
  bool causal = false;
  int64_t window = 0;      // centred; 0: heads at any distance
  BlockTable blocks = {};  // in decoding: of k and v, [blocks,K*C,blocks.rows,r]
};

// lse [B,C,T] = log sum_s exp(scale Mh[t,s]) of the last update, -inf for a word that can have no
// head. Does not read heads.lse.
template <class S>
void head_lse(View<accum_t<S>, 3> lse, const HeadOperands<S>& heads, Stream stream);

// out [B,C,T,T] = scale Mh of the last update, -inf where s cannot be the head of t; and Qh. For
// taps; no kernel reads them.
template <class S>
void head_scores(View<accum_t<S>, 4> out, const HeadOperands<S>& heads, Stream stream);
template <class S>
void head_probs(View<accum_t<S>, 4> out, const HeadOperands<S>& heads, Stream stream);

// From the heads of a word, and from the words whose head it is, of values v [B,K*C,R,r]:
//   heads_sum       out[b,t,(k*C+c)*r+i] = sum_{s: k(t,s) = k} Qh[b,c,t,s] v[b,k*C+c,s,i]
//   dependents_sum  out[b,s,(k*C+c)*r+i] = sum_{t: k(t,s) = k} Qh[b,c,t,s] v[b,k*C+c,t,i]
// out [B,T,K*C*r]; with `accumulate` they are added to what it holds.
template <class S>
void heads_sum(View<accum_t<S>, 3> out, const HeadOperands<S>& heads, In<S, 4> v, bool accumulate,
               Stream stream);
template <class S>
void dependents_sum(View<accum_t<S>, 3> out, const HeadOperands<S>& heads, In<S, 4> v,
                    bool accumulate, Stream stream);

// y [N,D] = scale * (x1 [N,P] w1 [P,D] + x2 [N,P] w2 [P,D]); the data of x2 may be null: no such
// term. Nothing is rounded to S before the store.
template <class S>
void gemm_nn_sum(View<S, 2> y, In<accum_t<S>, 2> x1, In<S, 2> w1, In<accum_t<S>, 2> x2, In<S, 2> w2,
                 double scale, Stream stream);

// scores [N,D] = scale * Mz with Mz = (1 - damping) (unary + sum) + damping before. before [N,D] is
// what message holds, or with `first` unary; message then holds Mz. Its data may be null where
// damping = 0: neither is read or written.
template <class S>
void label_scores(View<S, 2> scores, View<accum_t<S>, 2> message, In<S, 2> unary, In<S, 2> sum,
                  double damping, bool first, double scale, Stream stream);

// y [N,D] = (1 - step) before + step softmax(x); before's data may be null where step = 1.
template <class S>
void softmax_step(View<S, 2> y, In<S, 2> before, In<S, 2> x, double step, Stream stream);

// Of y = (1 - step) before + step softmax(x), x = scale * m, from dy [N,D], the gradient with
// respect to y:
//   dm [N,D] = carry dm + scale * (dx + step p (dy - sum_d p dy)),   p = softmax(x)
//   dy       = (1 - step) dy:  the gradient with respect to `before`
// dx [N,D], what else the gradient with respect to x is made of, may be null.
template <class S>
void softmax_step_backward(View<accum_t<S>, 2> dm, View<accum_t<S>, 2> dy, In<accum_t<S>, 2> dx,
                           In<S, 2> x, double step, double scale, double carry, Stream stream);

// The messages that heads were used for: message j had the values k and, from dependents, q, and
// the gradients with respect to its sums are du (of heads_sum) and dv (of dependents_sum).
template <class S>
struct HeadUses {
  const S* const* q = nullptr;  // device tables [uses*terms] of [B,K*C,T,r]
  const S* const* k = nullptr;
  const S* const* du = nullptr;
  const S* const* dv = nullptr;  // null: no message from dependents
  // [updates,uses]: how much of update i's softmax is in the heads of message j. Where it is 0, the
  // arrays of j are not read.
  const accum_t<S>* weights = nullptr;
  int64_t uses = 0;
};

// delta [B,C,T] = sum_s P[t,s] dP[t,s] of update i, where P_i = exp(scale Mh_i - lse_i) and
//   dP_i[t,s] = sum_j weights[i,j] sum_{m < terms} (du[j*terms + m][t] . k[j*terms + m][s]
//                                                   + q[j*terms + m][t] . dv[j*terms + m][s])
template <class S>
void head_delta(View<accum_t<S>, 3> delta, const HeadOperands<S>& heads, const HeadUses<S>& uses,
                int64_t update, Stream stream);

// Adds to dq and dk [B,T,K*C*r] the gradients with respect to q and k of `update`, label group
// `term`:
//   dF = (1 - damping) scale sum_{i >= update} damping^(i - update) P_i (dP_i - delta_i)
//   dq[t] = sum_s dF[t,s] k[s],   dk[s] = sum_t dF[t,s] q[t]
// delta: device table [updates] of [B,C,T]; those before `update` are not read.
template <class S>
void head_gradient(View<accum_t<S>, 3> dq, View<accum_t<S>, 3> dk, const HeadOperands<S>& heads,
                   const HeadUses<S>& uses, const accum_t<S>* const* delta, int64_t update,
                   int64_t term, Stream stream);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
