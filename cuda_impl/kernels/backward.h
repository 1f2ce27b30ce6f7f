// The kernels of the backward pass and of the optimizer as host code calls them; kernels.h says
// what every launcher checks and does. dX is the gradient of the loss with respect to X.
//
// Gradients of activations are stored as S, or accum_t<S> for those without a name; gradients of
// weights as accum_t<S>. `accumulate` adds to what the output holds (weights used more than once,
// micro-batches), where it otherwise replaces it. No kernel uses atomics unless it is asked to
// (fast_atomics): the same bits every time.
#pragma once

#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Sums over the N rows of an array are formed in chunks of kRowsPerChunk rows, and those added up.
inline constexpr int64_t kRowsPerChunk = 32;
inline int64_t row_chunks(int64_t N) { return (N + kRowsPerChunk - 1) / kRowsPerChunk; }

// What a backward gemm may be beside a single one of rows that lie one behind the other.
struct BackwardLayout {
  // `count` gemms in one launch: the arrays of gemm j lie j times so many elements behind those
  // of the first. A stride of 0 for dy or factor: all gemms share it.
  int64_t count = 1;
  int64_t out = 0, dy = 0, factor = 0;  // factor: w of gemm_nn, x of gemm_tn
  int64_t factor_row =
      0;  // elements from row to row of the factor: it is columns of a wider array; 0: K
};

// dx [N,K] = dy [N,M] w [M,K]: the gradient of gemm(y, x, w) with respect to x. Operands as in
// gemm().
template <class S, class Out>
void gemm_nn(View<Out, 2> dx, In<S, 2> dy, In<S, 2> w, bool accumulate, Stream stream,
             Operands operands = Operands::as_stored, const BackwardLayout& layout = {});

// dw [M,K] = dy [N,M]^T x [N,K]: the gradient of gemm(y, x, w) with respect to w. Operands as in
// gemm().
template <class S>
void gemm_tn(View<accum_t<S>, 2> dw, In<S, 2> dy, In<S, 2> x, bool accumulate, Stream stream,
             Operands operands = Operands::as_stored, const BackwardLayout& layout = {});

// out [D] = sum_n x[n,d]: the gradient of a bias. parts [row_chunks(N),D] is scratch.
template <class S>
void column_sum(View<accum_t<S>, 1> out, View<accum_t<S>, 2> parts, In<S, 2> x, bool accumulate,
                Stream stream);

// out [D] = sum_c parts[c,d], c ascending: the second stage of column_sum. Of several layers parts
// is [layers*C,D], and the sums of layer j lie j * out_stride elements behind the first.
template <class A>
void sum_parts(View<A, 1> out, In<A, 2> parts, bool accumulate, Stream stream, int64_t layers = 1,
               int64_t out_stride = 0);

// rms_norm: statistics [1,N], parts [row_chunks(N),D]; layer_norm: [2,N] and [2*row_chunks(N),D].
// Of several layers: layers times as many columns of statistics and rows of parts.
template <class A>
struct NormScratch {
  View<A, 2> statistics;
  View<A, 2> parts;
};

// The norms of sums x + addend of several layers at once: dx, dy and addend are [layers*N,D], x
// [N,D] is the same for every layer. Weights and their gradients are those of the first; those of
// layer j lie j times so many elements behind them.
struct NormLayers {
  int64_t layers = 1;
  int64_t weights = 0, gradients = 0;
};

// dx [N,D] and dgain [D] of y = gain * z / rms(z), z = x or, where addend [N,D] has data, x +
// addend, by either of which dx is the gradient. dx is stored as Grad: S or accum_t<S>, as dy.
template <class S, class Grad>
void rms_norm_backward(View<Grad, 2> dx, View<accum_t<S>, 1> dgain,
                       const NormScratch<accum_t<S>>& scratch, In<Grad, 2> dy, In<S, 2> x,
                       In<S, 2> addend, In<S, 1> gain, double eps, bool accumulate, Stream stream,
                       const NormLayers& layers = {});

// dx [N,D], dgain [D] and dbias [D] of y = gain * (z - mean(z)) / sqrt(variance(z) + eps) + bias, z
// as above
template <class S, class Grad>
void layer_norm_backward(View<Grad, 2> dx, View<accum_t<S>, 1> dgain, View<accum_t<S>, 1> dbias,
                         const NormScratch<accum_t<S>>& scratch, In<Grad, 2> dy, In<S, 2> x,
                         In<S, 2> addend, In<S, 1> gain, double eps, bool accumulate, Stream stream,
                         const NormLayers& layers = {});

// dgate, dup [N,F] of act = silu(gate) * up. Each may lie over dact.
template <class S, class Operand>
void swiglu_backward(View<S, 2> dgate, View<S, 2> dup, In<S, 2> dact, In<Operand, 2> gate,
                     In<Operand, 2> up, Stream stream);

// dx [N,F] of y = gelu(x), of its exact or of its tanh form. dx may lie over dy.
template <class S, class Operand>
void gelu_backward(View<S, 2> dx, In<S, 2> dy, In<Operand, 2> x, bool tanh_form, Stream stream);

// dx [B,T,H*Dh] of rope(y, x, cosines, sines): dy [B,H,T,Dh] rotated back, heads concatenated.
template <class S>
void rope_backward(View<S, 3> dx, In<accum_t<S>, 4> dy, In<accum_t<S>, 2> cosines,
                   In<accum_t<S>, 2> sines, Stream stream);

// x [B,T,H*Dh] = the heads y [B,H,T,Dh], concatenated: the gradient of split_heads. x_row: elements
// from position to position of x, which may be columns of a wider array; 0: H*Dh.
template <class S>
void merge_heads(View<S, 3> x, In<accum_t<S>, 4> y, Stream stream, int64_t x_row = 0);

// The gradients of fold_norm with respect to what it folds, of those with respect to its results,
// dy [M,K] and dy_bias [M]:
//   dw[m,k] += dy[m,k] gain[k] + dy_bias[m] shift[k],  dgain[k] += sum_m dy[m,k] w[m,k],
//   dshift[k] += sum_m dy_bias[m] w[m,k]
// The data of gain and shift may be null as there, those of dgain, dshift and dy_bias with them.
template <class S>
void fold_norm_backward(View<accum_t<S>, 2> dw, View<accum_t<S>, 1> dgain,
                        View<accum_t<S>, 1> dshift, In<accum_t<S>, 2> dy, In<accum_t<S>, 1> dy_bias,
                        In<S, 2> w, In<S, 1> gain, In<S, 1> shift, Stream stream);

// counted [1] = how many positions of labels [B,T] cross_entropy counts.
template <class A>
void counted_positions(View<A, 1> counted, In<int32_t, 2> labels, Stream stream,
                       int label_shift = 1);

// dlogits [n,V] = scale / counted * (softmax(logits[b,t]) - [v = labels[b,t+label_shift]]) where
// (b,t) is counted by cross_entropy, else 0; of the positions [first, first + n) of the B*T, whose
// logits [n,V] are given. dlogits may lie over logits.
template <class S>
void cross_entropy_backward(View<S, 2> dlogits, In<S, 2> logits, int64_t first,
                            In<int32_t, 2> labels, In<accum_t<S>, 1> counted, double scale,
                            Stream stream, int label_shift = 1);

// dtable [V,D] = sum over the n with tokens[n] = v of dy[n,d], n ascending; with fast_atomics, and
// then only with accumulate, in the order of arrival: other bits every time.
template <class S>
void embedding_backward(View<accum_t<S>, 2> dtable, In<S, 2> dy, In<int32_t, 1> tokens,
                        bool accumulate, Stream stream, bool fast_atomics = false);

// delta [B,H,T] = sum_d dcontext[b,t,h*Dh+d] * context[b,t,h*Dh+d]
template <class S>
void attention_delta(View<accum_t<S>, 3> delta, In<S, 3> context, In<S, 3> dcontext, Stream stream);

// How many numbers per head attention_backward leaves of a coefficient's gradient.
inline int64_t coefficient_parts(int64_t T) { return (T + 31) / 32 * 4; }

// One use of attention probabilities P = exp(scores - lse), as context = P v.
template <class S>
struct AttentionBackwardArguments {
  ScoreOperands<S> scores;
  View<const accum_t<S>, 3> lse;    // [B,H,T]
  View<const S, 4> v;               // [B,Hkv,T,Dh]
  View<const S, 3> dcontext;        // [B,T,H*Dh]
  View<const accum_t<S>, 3> delta;  // [B,H,T], of this use's context and dcontext
};

// Where the gradients with respect to the scores' operands are added. Left null, one is not formed:
// with dq, dk and dcoefficients null the probabilities are detached. dcoefficients[i] is the sum of
// the gradients with respect to all c_i(b,t,s): the whole gradient where c_i depends on the layer
// alone. That with respect to the offset is 0, as a constant added to all scores of a row
// does not change its softmax.
template <class A>
struct ScoreGradients {
  A* const* dq = nullptr;        // device table [layers] of arrays [B,H,T,Dh]
  A* const* dk = nullptr;        // device table [layers] of arrays [B,Hkv,T,Dh]
  View<A, 1> dcoefficients;      // [layers]
  View<A, 4> coefficient_parts;  // scratch [layers,B,H,coefficient_parts(T)], with dcoefficients
};

// dv [B,Hkv,T,Dh] = P^T dcontext, and adds this use's share to the score gradients. Narrow types
// take the tensor cores where attention_backward_variants.h says so, and round P and dS there.
template <class S>
void attention_backward(View<accum_t<S>, 4> dv, const ScoreGradients<accum_t<S>>& gradients,
                        const AttentionBackwardArguments<S>& arguments, Stream stream);

// Adds to dc, in the layout of arguments.scores.coefficients, the gradient with respect to the
// coefficients c_i(b,t,s) that depend on queries, keys or both: summed over heads and over the
// indices of stride 0.
template <class S>
void coefficient_gradient(accum_t<S>* dc, const AttentionBackwardArguments<S>& arguments,
                          Stream stream);

// What score_gate_backward leaves for the sums over rows: dbias = sum_n dg, dw2 = dg^T inner, dw1 =
// dpre^T z, and dz [N,D], the gradient with respect to the normalised input.
template <class A>
struct GateGradientRows {
  View<A, 2> dg;           // [N,outputs]
  View<A, 2> inner, dpre;  // [N,m]
  View<A, 2> z, dz;        // [N,D]
};

// Of score_gate(factors, h, gate, eps, scale), from the gradient with respect to its factors.
template <class S>
void score_gate_backward(const GateGradientRows<accum_t<S>>& out, In<accum_t<S>, 2> dfactors,
                         In<accum_t<S>, 2> factors, In<S, 2> h, const GateWeights<S>& gate,
                         double eps, Stream stream);

// y [N,D] = scale * x, rounded to S
template <class S>
void scaled(View<S, 2> y, In<accum_t<S>, 2> x, double scale, Stream stream);

// y [N,D] += scale * x
template <class A>
void accumulate(View<A, 2> y, In<A, 2> x, double scale, Stream stream);

// out [1] += sum_{n,d} x[n,d] y[n,d]; parts [N] is scratch. The gradient of a term's weight in
// add_n.
template <class S>
void inner_product(View<accum_t<S>, 1> out, View<accum_t<S>, 1> parts, In<accum_t<S>, 2> x,
                   In<S, 2> y, Stream stream);

// norm [1] = sqrt(sum of the squares of all elements of all arrays). arrays and sizes are device
// tables [count]; parts [count,slices], any number of slices, is scratch.
template <class A>
void global_norm(View<A, 1> norm, View<A, 2> parts, const A* const* arrays, const int64_t* sizes,
                 int64_t count, Stream stream);

struct AdamwStep {
  double learning_rate = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  int64_t step = 1;           // counts from 1
  double gradient_scale = 1;  // the gradient is this times what is stored: 1 / loss scale
  double max_norm = 0;        // of the scaled gradients; read where a norm is given
};

template <class A>
struct AdamwState {
  View<A, 1> master, first, second;  // [N]: the weights, the moments
};

// One step of AdamW on N weights, and their rounded copy `weights`, which may be null. norm [1],
// the norm of the stored gradients, may be null; one that is not finite makes the step a no-op.
template <class S>
void adamw(View<S, 1> weights, const AdamwState<accum_t<S>>& state, In<accum_t<S>, 1> gradient,
           In<accum_t<S>, 1> norm, const AdamwStep& step, Stream stream);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
