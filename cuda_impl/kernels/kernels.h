// The kernels as host code calls them. S is the storage type (ASSAY_FOR_STORAGE_TYPES); every sum
// is formed in accum_t<S> and rounded to S once, when it is stored.
//
// A launcher checks every shape by name, enqueues on the caller's stream, throws simt::Error for a
// misfit or a failed launch, and allocates nothing.
#pragma once

#include <cstdint>
#include <limits>

#include "cuda_impl/kernels/view.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

using simt::accum_t;
using simt::Stream;

inline constexpr int64_t kMaxHeadSize = 128;
inline constexpr int32_t kIgnoredLabel = -100;

// kLowest: the maximum of no numbers. Device code cannot call numeric_limits itself.
template <class A>
inline constexpr A kLowest = std::numeric_limits<A>::lowest();
template <class A>
inline constexpr A kInfinity = std::numeric_limits<A>::infinity();

// The position of row b's element t: position_offset[b] + t, or the last of `positions` where that
// is past it: kernels that read a table by it are also run on rows that nobody reads.
// position_offset null: 0.
SIMT_HD int position_of(const int32_t* position_offset, int64_t b, int t, int positions) {
  const int position = position_offset == nullptr ? t : position_offset[b] + t;
  return position < positions ? position : positions - 1;
}

// y [N,D] = table[tokens[n]], and with positions [P,D] (data may be null) +
// positions[position_offset[b] + t]; tokens [B,T], position_offset (device) [B] or null: 0. The
// caller has checked 0 <= tokens[n] < V and T <= P.
template <class S>
void embedding(View<S, 2> y, In<S, 2> table, In<S, 2> positions, In<int32_t, 2> tokens,
               const int32_t* position_offset, Stream stream);

// y [N,D] = gain * x / rms(x)
template <class S>
void rms_norm(View<S, 2> y, In<S, 2> x, In<S, 1> gain, double eps, Stream stream);

// y [N,D] = gain * (x + addend) / rms(x + addend); the sum is never rounded to S. y and addend may
// have layers*N rows: x is the same for every layer, and the gain of layer j lies j * layer_stride
// elements behind the first.
template <class S>
void rms_norm_of_sum(View<S, 2> y, In<S, 2> x, In<S, 2> addend, In<S, 1> gain, double eps,
                     Stream stream, int64_t layer_stride = 0);

// y [N,D] = gain * (x - mean(x)) / sqrt(variance(x) + eps) + bias; with an addend [N,D] (data may
// be null) of x + addend, which is never rounded to S. Layers as with rms_norm_of_sum, of bias as
// well.
template <class S>
void layer_norm(View<S, 2> y, In<S, 2> x, In<S, 2> addend, In<S, 1> gain, In<S, 1> bias, double eps,
                Stream stream, int64_t layer_stride = 0);

// sum [N,D] = x + addend, y [N,D] = gain * sum / rms(sum): add() and rms_norm() in one pass, bit
// for bit.
template <class S>
void add_rms_norm(View<S, 2> sum, View<S, 2> y, In<S, 2> x, In<S, 2> addend, In<S, 1> gain,
                  double eps, Stream stream);

// The same with layer_norm().
template <class S>
void add_layer_norm(View<S, 2> sum, View<S, 2> y, In<S, 2> x, In<S, 2> addend, In<S, 1> gain,
                    In<S, 1> bias, double eps, Stream stream);

// y [M,K], whose rows lie y_row >= K elements apart, = w [M,K] * gain [K]; y_bias [M] = w shift [K]
// + bias [M]. A gemm by y and y_bias of a norm's input, normalised, is that by w and bias of the
// norm (gain, shift). The data of gain may be null: 1; that of shift: 0; that of y_bias: none.
template <class S>
void fold_norm(View<S, 2> y, int64_t y_row, View<S, 1> y_bias, In<S, 2> w, In<S, 1> gain,
               In<S, 1> shift, In<S, 1> bias, Stream stream);

// What a gemm may be beside one y = x w^T with rows that lie one behind the other.
struct GemmLayout {
  // `count` gemms in one launch: y, x, w and bias are those of the first, and those of gemm j lie
  // j times so many elements behind them.
  int64_t count = 1;
  int64_t y = 0, x = 0, w = 0, bias = 0;
  int64_t w_row = 0;        // elements from row to row of w: it is columns of a wider array; 0: K
  bool accumulate = false;  // the sums go on from what y holds; y is stored as accum_t<S>
};

// What a gemm reads its factors as: as they are stored, or, for S = float alone, rounded to tf32
// (simt/tf32.h), which tensor cores multiply. Sums are accum_t<S> either way.
enum class Operands { as_stored, tf32 };

template <class S>
void expect_operands(const char* kernel, Operands operands) {
  if (operands == Operands::as_stored || std::is_same_v<S, float>) return;
  throw simt::Error(std::string(kernel) + ": operands: expected as_stored, got tf32, which only " +
                    "float is read as");
}

// y [N,M] = x [N,K] w [M,K]^T + bias [M] (data may be null), stored as Out: S, or accum_t<S> for an
// intermediate without a name.
template <class S, class Out>
void gemm(View<Out, 2> y, In<S, 2> x, In<S, 2> w, In<S, 1> bias, Stream stream,
          Operands operands = Operands::as_stored, const GemmLayout& layout = {});

// y [B,H,T,Dh] = the heads of x [B,T,H*Dh], rotated by the angles of positions position_offset[b] +
// t, whose cosines and sines are given [R,Dh/2], R >= T. position_offset (device) [B] may be null:
// 0.
template <class S>
void rope(View<S, 4> y, In<accum_t<S>, 3> x, In<accum_t<S>, 2> cosines, In<accum_t<S>, 2> sines,
          const int32_t* position_offset, Stream stream);

// y [B,H,T,Dh] = x [B,H,T,Dh], rotated by the same angles, or with `back` by the opposite ones; y
// and x may be one array.
template <class S>
void turn_heads(View<S, 4> y, In<S, 4> x, In<accum_t<S>, 2> cosines, In<accum_t<S>, 2> sines,
                const int32_t* position_offset, bool back, Stream stream);

// y [B,H,T,Dh] = the heads of x [B,T,H*Dh]
template <class S>
void split_heads(View<S, 4> y, In<accum_t<S>, 3> x, Stream stream);

// c_i(b,t,s) = data[i*layer + b*batch + t*query + s*key]: what multiplies the product of layer i's
// query t and key s. A stride is 0 where the coefficient does not depend on that index.
template <class A>
struct Coefficients {
  const A* data = nullptr;
  int64_t layer = 0, batch = 0, query = 0, key = 0;
};

// The rows of a cache that keeps a window of a sequence: the first positions have rows of their
// own, those behind them take `round` rows in turn, the newest in the place of the oldest. A tile
// of keys that begins at a multiple of kRingTile is one piece of it, in order.
inline constexpr int kRingTile = 64;
struct Ring {
  int kept = 0, round = 0;  // multiples of kRingTile; round 0: every position has its own row

  SIMT_HD int row_of(int position) const {
    return round == 0 || position < kept ? position : kept + (position - kept) % round;
  }
};

// Of a cache of R rows.
inline void expect_ring(const char* kernel, const Ring& ring, int64_t R) {
  if (ring.kept == 0 && ring.round == 0) return;
  if (ring.kept >= 0 && ring.round > 0 && ring.kept % kRingTile == 0 &&
      ring.round % kRingTile == 0 && int64_t{ring.kept} + ring.round == R) {
    return;
  }
  throw simt::Error(std::string(kernel) + ": ring: expected multiples of " +
                    std::to_string(kRingTile) + " that are R = " + std::to_string(R) +
                    " together, got kept " + std::to_string(ring.kept) + ", round " +
                    std::to_string(ring.round));
}

// A cache whose memory is blocks of `rows` positions, each of all heads: position p of sequence b
// is row p % rows of block blocks[b,p / rows], which other sequences may have too. Null: a sequence
// is one block of its own, with its rows by a Ring.
struct BlockTable {
  const int32_t* blocks = nullptr;  // device [B,columns]; an entry that stands for nothing is 0
  int rows = 0, columns = 0;

  struct Place {
    int64_t block;
    int row;
  };
  SIMT_HD Place of(int64_t b, int position) const {
    return {blocks[b * columns + position / rows], position % rows};
  }
};

// Of a cache of up to `positions` positions a sequence.
inline void expect_blocks(const char* kernel, const BlockTable& table, const Ring& ring,
                          int64_t positions) {
  if (table.blocks == nullptr) return;
  const int64_t held = int64_t{table.rows} * table.columns;
  if (table.rows >= 1 && held >= positions && ring.round == 0) return;
  throw simt::Error(std::string(kernel) + ": blocks: expected at least " +
                    std::to_string(positions) + " positions in blocks and no ring, got " +
                    std::to_string(table.columns) + " of " + std::to_string(table.rows) +
                    ", round " + std::to_string(ring.round));
}

// What attention scores are made of:  sum_{i < layers} c_i(b,t,s) (q_i[t] . k_i[s]) + offset[t],
// key s visible to query t iff s <= t, padding_mask[b,s] and, with a window, t - window < s or s <
// sinks.
// Ordinary attention has layers = 1 and c = 1/sqrt(Dh); methods 5.x have l + 1 layers.
// t and s are positions. A whole sequence has queries and keys at positions 0 .. R-1. In decoding
// the keys come from a cache of R >= T rows, and row b's T queries stand at positions
// position_offset[b] ..; what comes out for a query at a position >= `positions` means nothing.
// With a ring the rows hold the last ring.round positions behind the kept ones, those of the
// queries written before; coefficients with a stride for a query or key are by row, too.
// With blocks k has [blocks,Hkv,blocks.rows,Dh] and R positions of padding_mask are as they come;
// coefficients with a stride for a batch row are in the blocks too, so many elements each.
template <class S>
struct ScoreOperands {
  const S* const* q = nullptr;               // device table [layers] of arrays [B,H,T,Dh]
  const S* const* k = nullptr;               // device table [layers] of arrays [B,Hkv,R,Dh]
  View<const uint8_t, 2> padding_mask;       // [B,R], 0 = padding
  const int32_t* position_offset = nullptr;  // device [B]; null: 0, and T = R
  Coefficients<accum_t<S>> coefficients;
  const accum_t<S>* offset = nullptr;  // [R]; null: none
  int64_t layers = 1;
  int64_t H = 0, Hkv = 0, Dh = 0;
  int64_t window = 0, sinks = 0;  // 0: every earlier key is visible; sinks with a window only
  // device [B,T], of the queries' own windows, 1 .. window; null: window of every one
  const int32_t* sizes = nullptr;
  int64_t positions = 0;  // that there are; 0: R
  Ring ring = {};         // with a window, and sinks <= ring.kept
  BlockTable blocks = {};

  // Of a block of k and v: all of a sequence where there are no blocks.
  int64_t rows() const { return blocks.blocks == nullptr ? padding_mask.shape[1] : blocks.rows; }
};

// Sizes [B,T] of dynamic windows, of layer l's own scores S = q . k without coefficients (scores:
// layers 1; coefficients.data of one 1, device):
//   z_t = mean of |S[b,h,t,s]| over heads and the visible keys of the widest window, 0 without one
//   r_t = (z_t - min) / (max - min) over z_t and the real positions before t, 1/2 where min = max
//   sizes[b,t] = least + floor(r_t (window - least))
// extremes [B,1,T,2]: min and max over the real positions up to t; +inf and -inf where there are
// none. `before` [B,1,R,2]: those of the positions that a cache holds, in its rows, or with blocks
// [blocks,1,blocks.rows,2]; null without a cache. sums [B,H,T] and keys [B,T] are scratch.
template <class S>
struct WindowSizes {
  using A = accum_t<S>;
  View<int32_t, 2> sizes;
  View<A, 4> extremes;
  View<A, 3> sums;
  View<int32_t, 2> keys;
  View<const A, 4> before;
  int64_t least = 1;
};
template <class S>
void window_sizes(const WindowSizes<S>& out, const ScoreOperands<S>& scores, Stream stream);

// Of kernels that know no cache.
template <class S>
void expect_whole(const char* kernel, const ScoreOperands<S>& scores) {
  if (scores.position_offset == nullptr) return;
  throw simt::Error(std::string(kernel) +
                    ": position_offset: expected null, the whole sequence at once");
}

// context [B,T,H*Dh] = softmax(scores) v, heads concatenated, v [B,Hkv,R,Dh]; lse [B,H,T] = log sum
// exp of each row. A row without a visible key has context 0 and lse -inf. Narrow types take the
// tensor cores where attention_variants.h says so, and round probabilities there.
template <class S>
void attention(View<S, 3> context, View<accum_t<S>, 3> lse, const ScoreOperands<S>& scores,
               In<S, 4> v, Stream stream);

// What term j of a sum is multiplied by: scale * weights[j] (device); null: scale.
template <class A>
struct TermWeights {
  const A* weights = nullptr;
  A scale = A(1);
  SIMT_HD A of(int64_t j) const { return weights == nullptr ? scale : scale * weights[j]; }
};

// The replays of `count` layers in one launch: context, lse and v are those of the first, and those
// of layer j lie j times so many elements behind them; q and k are entry j of their tables.
template <class A>
struct ReplayLayout {
  int64_t count = 1;
  int64_t context = 0, lse = 0, v = 0;
  int64_t context_row = 0;    // elements from position to position of context; 0: H*Dh
  int64_t v_batch = 0;        // elements from batch row, or block, of v to the next; 0: Hkv*R*Dh
  TermWeights<A> terms = {};  // of the contexts
};

// context [B,T,H*Dh] = P v with P = exp(scores - lse) rebuilt tile by tile: the probabilities of an
// earlier attention() on other values. More than one layer only with scores.layers = 1.
template <class S>
void replay_attention(View<S, 3> context, In<accum_t<S>, 3> lse, const ScoreOperands<S>& scores,
                      In<S, 4> v, Stream stream, const ReplayLayout<accum_t<S>>& layout = {});

// out [B,H,T,T] = scores of whole sequences, -inf where the key is hidden. For taps; no kernel
// reads it.
template <class S>
void attention_scores(View<accum_t<S>, 4> out, const ScoreOperands<S>& scores, Stream stream);

// out [B,H,T,T] = exp(scores - lse) of whole sequences, 0 where the key is hidden. For taps; no
// kernel reads it.
template <class S>
void attention_probs(View<accum_t<S>, 4> out, const ScoreOperands<S>& scores, In<accum_t<S>, 3> lse,
                     Stream stream);

// The layers whose activations stand side by side: act [N,layers*F] is formed of operands
// [layers*N,F], and each multiplied by its term's weight.
template <class A>
struct SideBySide {
  int64_t layers = 1;
  TermWeights<A> terms = {};

  // Of element i of layer j's [N,F].
  SIMT_HD int64_t place(int64_t j, int64_t i, int64_t F) const {
    return layers == 1 ? i : i + (i / F * (layers - 1) + j) * F;
  }
};

// act [N,F] = silu(gate) * up; gate and up are stored as In: S, or accum_t<S> where they have no
// name.
template <class S, class Operand>
void swiglu(View<S, 2> act, In<Operand, 2> gate, In<Operand, 2> up, Stream stream,
            const SideBySide<accum_t<S>>& layout = {});

// y [N,F] = GELU(x): x/2 (1 + erf(x/sqrt(2))), or with tanh its usual approximation. x is stored as
// Operand: S, or accum_t<S> where it has no name.
template <class S, class Operand>
void gelu(View<S, 2> y, In<Operand, 2> x, bool with_tanh, Stream stream,
          const SideBySide<accum_t<S>>& layout = {});

// The coefficients that methods 5.1D, 5.1E and D-base compute from a position:
//   factors [N,outputs] = scale * exp(w2 [outputs,m] GELU(w1 [m,D] (norm * h / rms(h))) + bias)
// with h [N,D], norm [D], bias [outputs], m, outputs <= kMaxGate. Nothing is rounded to S in
// between.
inline constexpr int64_t kMaxGate = 64;
template <class S>
struct GateWeights {
  View<const S, 1> norm, bias;
  View<const S, 2> w1, w2;
};
template <class S>
void score_gate(View<accum_t<S>, 2> factors, In<S, 2> h, const GateWeights<S>& gate, double eps,
                double scale, Stream stream);

// What a cache takes up of a chunk, rows a table [B,H,C,W]:
//   cache[b,h,ring.row_of(position_offset[b] + t)] = rows[b,h,t] for t < counts[b]
// with cache [B,H,R,W], position_offset and counts (device) [B]. The caller has checked
// counts[b] <= C and, without a ring, position_offset[b] + counts[b] <= R. With blocks into cache
// [blocks,H,blocks.rows,W], where the table says; no two sequences write to one block.
template <class T>
void append_rows(View<T, 4> cache, In<T, 4> rows, const int32_t* position_offset,
                 const int32_t* counts, Stream stream, const Ring& ring = {},
                 const BlockTable& blocks = {});

// y [B,D] = x[b,counts[b] - 1], of x [B,C,D]; row 0 where counts[b] (device [B]) is 0.
template <class S>
void last_rows(View<S, 2> y, In<S, 3> x, const int32_t* counts, Stream stream);

// y [N,D] = a + b + c; the data of c, and of b with it, may be null: no such term.
template <class S>
void add(View<S, 2> y, In<S, 2> a, In<S, 2> b, In<S, 2> c, Stream stream);

// y [N,D] = scale * (sum_{i < count} w[i] terms[i] + w[count] last), ascending; terms is a device
// table of arrays [N,D]. last may be null (no such term), and weights (device) too: all 1.
template <class S>
void add_n(View<S, 2> y, const S* const* terms, int64_t count, const S* last,
           const accum_t<S>* weights, double scale, Stream stream);

// The biases of `count` terms: that of the first [D], the others `stride` elements apart. data
// null:
// none.
template <class S>
struct TermBiases {
  const S* data = nullptr;
  int64_t stride = 0, count = 0;
};

// y [N,D] = x + sum_j terms.of(j) biases_j + own_weight * own; x is a sum of terms without their
// biases. own [N,D] may be null.
template <class S>
void sum_epilogue(View<S, 2> y, In<accum_t<S>, 2> x, const TermBiases<S>& biases,
                  const TermWeights<accum_t<S>>& terms, const S* own, double own_weight,
                  Stream stream);

// Which elements of an array dropout keeps: word first + i of the stream decides of element i.
struct DropoutMask {
  double rate = 0;  // p, in [0, 1): the share that is dropped
  uint64_t seed = 0, stream = 0, first = 0;
};

// y [N,D] = scale x / (1 - p) where the mask keeps an element, else 0. y may be x, which is stored
// as Operand: S, or accum_t<S>.
template <class S, class Operand>
void dropout(View<S, 2> y, In<Operand, 2> x, double scale, const DropoutMask& mask, Stream stream);

// loss [1] = mean over counted (b,t) of log sum exp logits[b,t] -
// logits[b,t,labels[b,t+label_shift]].
// Counted: t + label_shift < T and labels[b,t+label_shift] != -100; label_shift is 1 or 0. No
// position counted: 0.
// losses [B,T] is scratch: what each position contributes to the sum.
template <class S>
void cross_entropy(View<accum_t<S>, 1> loss, View<accum_t<S>, 2> losses, In<S, 3> logits,
                   In<int32_t, 2> labels, Stream stream, int label_shift = 1);

// The two steps of cross_entropy, the first for the positions [first, first + n) of the B*T alone,
// whose logits [n,V] are given: so that no array [B,T,V] need exist.
template <class S>
void position_losses(View<accum_t<S>, 2> losses, In<S, 2> logits, int64_t first,
                     In<int32_t, 2> labels, Stream stream, int label_shift = 1);
template <class A>
void mean_loss(View<A, 1> loss, In<A, 2> losses, In<int32_t, 2> labels, Stream stream,
               int label_shift = 1);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
