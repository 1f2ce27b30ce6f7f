// Tiles of 32 words by 32 words that can be their heads, and what the kernels of the Probabilistic
// Transformer form of them (HeadOperands in mean_field.h).
//
// Rows are words t and columns their heads s, or with kHeadRows the other way round, which is for
// whole sequences alone. Rows are shared out among the warps and columns among the lanes as in
// pair_tile.h.
// Word t stands at position position_offset + t, head s at s. A distance group is an interval of s
// - position_offset - t: a tile loads the vectors of those that it meets, and a pair counts in its
// own.
// Longest addition chain r, then label groups, ascending; Mh: as many as there were updates.
#pragma once

#include "cuda_impl/kernels/mean_field.h"
#include "cuda_impl/kernels/tiles/pair_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// HeadOperands as a kernel parameter, with its extents in int.
template <class S>
struct HeadParams {
  using A = accum_t<S>;
  const S *const *q, *const *k;
  const A* const* lse;
  const A* even;
  const uint8_t* padding_mask;
  const int32_t* position_offsets;
  const int32_t* offsets;
  A scale, damping, undamped, step, kept;  // undamped = 1 - damping, kept = 1 - step
  bool damped, stepped, causal;            // damping != 0, step != 1
  BlockTable blocks;
  int updates, terms, B, C, K, T, R, r;
  int rows;   // of a block of k
  int reach;  // from a word to the farthest position that can be its head; R: none is too far

  // The position of batch row b's word 0.
  SIMT_DEVICE int position_offset(int b) const {
    return position_offsets == nullptr ? 0 : position_offsets[b];
  }
  SIMT_DEVICE bool is_word(int b, int s) const {
    return s < R && padding_mask[int64_t{b} * R + s] != 0;
  }
  // Whether s can be the head of t, positions of words both of them.
  SIMT_DEVICE bool can_be_head(int t, int s) const {
    return (causal ? s < t : s != t) && s - t <= reach && t - s <= reach;
  }
  // The tiles of positions that can be heads of the 32 words from t0 on: where the first begins,
  // and one past the last position.
  SIMT_DEVICE int heads_begin(int b, int t0) const {
    const int begin = position_offset(b) + t0 - reach;
    return begin > 0 ? begin / kSide * kSide : 0;
  }
  SIMT_DEVICE int heads_end(int b, int t0) const {
    const int end = position_offset(b) + t0 + kSide + (causal ? 0 : reach);
    return end < R ? end : R;
  }
  // Those of words that the 32 positions from s0 on can be heads of, in a whole sequence.
  SIMT_DEVICE int words_begin(int s0) const {
    return s0 > reach ? (s0 - reach) / kSide * kSide : 0;
  }
  SIMT_DEVICE int words_end(int s0) const {
    const int end = s0 + kSide + reach;
    return end < T ? end : T;
  }
};

// Whether bit r, of own row r, is set.
SIMT_DEVICE bool row_in(unsigned rows, int r) { return (rows >> r & 1u) != 0; }

// A tile's pairs as a thread sees them: own rows of its warp against its lane's column.
template <bool kHeadRows>
struct Pairs {
  int tile_row, tile_column;      // where the tile starts
  int row, column;                // the warp's first row, the lane's column
  int position_offset;            // the position of word 0
  int first_offset, last_offset;  // of s - t over the whole tile
  unsigned visible = 0;           // bit r: own row r and the column can be word and head

  template <class S>
  SIMT_DEVICE Pairs(const HeadParams<S>& p, int b, int first_row, int first_column)
      : tile_row(first_row),
        tile_column(first_column),
        row(first_row + static_cast<int>(threadIdx.x) / 32 * kOwnRows),
        column(first_column + static_cast<int>(threadIdx.x) % 32),
        position_offset(kHeadRows ? 0 : p.position_offset(b)) {
    const int corner =
        kHeadRows ? first_row - first_column : first_column - position_offset - first_row;
    first_offset = corner - (kSide - 1);
    last_offset = corner + (kSide - 1);
    const int lane = static_cast<int>(threadIdx.x) % 32;
    // One load each for the rows and the column; a loop that stays one leaves registers to the
    // sums.
    const unsigned words =
        __ballot_sync(simt::kFullMask, lane < kOwnRows && row + lane < p.T &&
                                           p.is_word(b, position_offset + row + lane));
    const bool is_word = p.is_word(b, column);
    SIMT_NO_UNROLL for (int r = 0; r < kOwnRows; ++r) {
      const bool pair =
          is_word && row_in(words, r) && p.can_be_head(position_offset + word(r), head(r));
      visible |= static_cast<unsigned>(pair) << r;
    }
  }
  SIMT_DEVICE int word(int r) const { return kHeadRows ? column : row + r; }
  SIMT_DEVICE int head(int r) const { return kHeadRows ? row + r : column; }

  // Whether any pair of the tile can belong to group k; the same for the whole block.
  template <class S>
  SIMT_DEVICE bool meets(const HeadParams<S>& p, int k) const {
    return p.offsets[2 * k] <= last_offset && p.offsets[2 * k + 1] >= first_offset;
  }
  // The visible own rows whose pair belongs to group k.
  template <class S>
  SIMT_DEVICE unsigned rows_of(const HeadParams<S>& p, int k) const {
    unsigned rows = 0;
    for (int r = 0; r < kOwnRows; ++r) {
      const int offset = head(r) - position_offset - word(r);
      const bool in = p.offsets[2 * k] <= offset && offset <= p.offsets[2 * k + 1];
      rows |= static_cast<unsigned>(in && row_in(visible, r)) << r;
    }
    return rows;
  }
};

// The vectors of one group and channel at positions first .. of batch row b, in the array of which
// they are a part in block 0 from `g_head` on; `block` elements from block to block.
template <class S>
struct HeadColumns {
  const S* g_head;
  const BlockTable& blocks;
  int b, first;
  int64_t block;
  int r;

  SIMT_DEVICE const S* at(int i) const {
    if (blocks.blocks == nullptr) return g_head + b * block + int64_t{first + i} * r;
    const auto [at, row] = blocks.of(b, first + i);
    return g_head + at * block + int64_t{row} * r;
  }
};

// Forms numbers of one tile of batch row b and channel c, for a thread's pairs.
template <class S, bool kHeadRows>
struct HeadTile {
  using A = accum_t<S>;
  using At = Pairs<kHeadRows>;
  PairTile<S> tile;
  const HeadParams<S>& p;
  int b, c;

  SIMT_DEVICE HeadTile(simt::Smem& smem, const HeadParams<S>& params, int batch_row, int channel)
      : tile(smem, params.r), p(params), b(batch_row), c(channel) {}

  // Where vector i of group k stands in an array [B,K*C,T,r].
  SIMT_DEVICE int64_t vector_at(int k, int i) const {
    return (((int64_t{b} * p.K + k) * p.C + c) * p.T + i) * p.r;
  }
  // Those of group k from `first` on, of an array [B,K*C,R,r] or in blocks.
  SIMT_DEVICE HeadColumns<S> columns_of(const S* g_array, int k, int first) const {
    const int64_t head = int64_t{p.rows} * p.r;
    return {g_array + (int64_t{k} * p.C + c) * head, p.blocks, b, first, p.K * p.C * head, p.r};
  }
  SIMT_DEVICE int64_t row_at(int t) const { return (int64_t{b} * p.C + c) * p.T + t; }

  // r_sum[r] += of_words[k(t,s)*C+c, t] . of_heads[k(t,s)*C+c, s] where visible
  SIMT_DEVICE void add_products(A (&r_sum)[kOwnRows], const At& at, const S* of_words,
                                const S* of_heads) const {
    const S *g_rows = kHeadRows ? of_heads : of_words, *g_columns = kHeadRows ? of_words : of_heads;
    for (int k = 0; k < p.K; ++k) {
      if (!at.meets(p, k)) continue;
      tile.load({g_rows + vector_at(k, at.tile_row), p.r}, p.T - at.tile_row,
                columns_of(g_columns, k, at.tile_column), p.R - at.tile_column);
      A r_dot[kOwnRows];
      tile.dot(r_dot);
      const unsigned rows = at.rows_of(p, k);
      for (int r = 0; r < kOwnRows; ++r) {
        if (row_in(rows, r)) r_sum[r] += r_dot[r];
      }
    }
  }

  // From Mh of the update before i, 0 ahead of the first, to that of i.
  SIMT_DEVICE void next_message(A (&r_message)[kOwnRows], const At& at, int i) const {
    A r_fresh[kOwnRows] = {};
    for (int m = 0; m < p.terms; ++m) {
      add_products(r_fresh, at, p.q[i * p.terms + m], p.k[i * p.terms + m]);
    }
    for (int r = 0; r < kOwnRows; ++r) {
      r_message[r] = p.damped ? p.undamped * r_fresh[r] + p.damping * r_message[r] : r_fresh[r];
    }
  }

  // The softmax of update i from its Mh; the pair is visible.
  SIMT_DEVICE A softmax(A message, int i, int t) const {
    return simt::exp(p.scale * message - p.lse[i][row_at(t)]);
  }

  // r_heads[r] = Qh after all updates, 0 where not visible.
  SIMT_DEVICE void heads(A (&r_heads)[kOwnRows], const At& at) const {
    A r_message[kOwnRows] = {};
    for (int r = 0; r < kOwnRows; ++r) {
      const bool even = p.even != nullptr && row_in(at.visible, r);
      r_heads[r] = even ? p.even[int64_t{b} * p.T + at.word(r)] : A(0);
    }
    for (int i = 0; i < p.updates; ++i) {
      next_message(r_message, at, i);
      if (!p.stepped && i + 1 < p.updates) continue;  // a full step does not look back
      for (int r = 0; r < kOwnRows; ++r) {
        if (!row_in(at.visible, r)) continue;
        const A fresh = softmax(r_message[r], i, at.word(r));
        r_heads[r] = p.stepped ? p.kept * r_heads[r] + p.step * fresh : fresh;
      }
    }
  }
};

// Weights of a tile's pairs, by column, and which of the warp's own rows have one.
template <class A>
struct WeightedRows {
  A* s_weights;      // [kSide][kOwnRows], of this warp
  unsigned* s_rows;  // [kSide]

  SIMT_DEVICE explicit WeightedRows(simt::Smem& smem)
      : s_weights(smem.take<A>(kAllWeights) + static_cast<int>(threadIdx.x) / 32 * kWeights),
        s_rows(smem.take<unsigned>(kTileWarps * kSide) +
               static_cast<int>(threadIdx.x) / 32 * kSide) {}

  // r_sum[g][r] += sum_c weight[c][r] * column c of the tile at d = lane + 32 g, over the columns
  // with bit r in their lane's `rows`, c ascending. The tile has been loaded behind the call
  // before.
  template <class S>
  SIMT_DEVICE void add(A (&r_sum)[kColumnGroups][kOwnRows], const A (&r_weight)[kOwnRows],
                       unsigned rows, const PairTile<S>& tile) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    for (int r = 0; r < kOwnRows; ++r) s_weights[lane * kOwnRows + r] = r_weight[r];
    s_rows[lane] = rows;
    __syncwarp();  // the warp's weights are complete; no other warp reads them
    for (int c = 0; c < kSide; ++c) {
      const unsigned used = s_rows[c];
      if (used == 0) continue;  // the same for the whole warp, as every condition on used
      for (int g = 0; g < kColumnGroups; ++g) {
        const int d = lane + 32 * g;
        if (d >= tile.Dh) continue;
        const A value = tile.s_columns[c * (tile.Dh + 1) + d];
        SIMT_UNROLL for (int r = 0; r < kOwnRows; ++r) {
          if (row_in(used, r)) r_sum[g][r] += s_weights[c * kOwnRows + r] * value;
        }
      }
    }
  }
};

// g_out[row * stride + d] = r_sum (+ what it holds, with `add`) for the warp's own of `rows` rows.
template <class A>
SIMT_DEVICE void store_rows(A* g_out, int64_t stride, const A (&r_sum)[kColumnGroups][kOwnRows],
                            int rows, int r, bool add) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int first = static_cast<int>(threadIdx.x) / 32 * kOwnRows;
  SIMT_UNROLL for (int own = 0; own < kOwnRows; ++own) {
    SIMT_UNROLL for (int g = 0; g < kColumnGroups; ++g) {
      const int d = lane + 32 * g;
      if (first + own >= rows || d >= r) continue;
      A& out = g_out[(first + own) * stride + d];
      out = add ? out + r_sum[g][own] : r_sum[g][own];
    }
  }
}

// Of a kernel with WeightedRows behind its tile; without, tile_smem.
template <class S>
simt::SmemSize weighted_smem(int64_t r) {
  return tile_smem<S>(r)
      .template add<accum_t<S>>(kAllWeights)
      .template add<unsigned>(kTileWarps * kSide);
}

// Checks the operands for T words and turns them into the kernel parameter. reads_heads: lse and
// even as well.
template <class S>
HeadParams<S> head_params(const char* kernel, const HeadOperands<S>& heads, int64_t T,
                          bool reads_heads) {
  using A = accum_t<S>;
  const auto [B, R] = heads.padding_mask.shape;
  const int64_t K = heads.offsets.shape[0], vectors = heads.updates * heads.terms;
  expect_shape(kernel, "padding_mask [B,R]", heads.padding_mask, {B, R});
  expect_at_most(kernel, "T", T, R);
  if (heads.position_offset == nullptr && T != R) {
    throw simt::Error(std::string(kernel) + ": T: expected as many words as heads (" +
                      std::to_string(R) + ") where position_offset is null, got " +
                      std::to_string(T));
  }
  expect_shape(kernel, "offsets [K,2]", heads.offsets, {K, 2});
  expect_blocks(kernel, heads.blocks, {}, R);
  expect_at_most(kernel, "rank", heads.rank, kMaxHeadSize);
  if (heads.window < 0 || (heads.window > 0 && heads.causal)) {
    throw simt::Error(std::string(kernel) +
                      ": window: expected a number >= 0, and 0 where heads are causal, got " +
                      std::to_string(heads.window));
  }
  expect_at_most(kernel, "B", B, 65535);
  expect_at_most(kernel, "K*C", K * heads.channels, 65535);
  if (heads.updates > 0) {
    expect_shape(kernel, "q [updates*terms]", View<const S* const, 1>{heads.q, {vectors}},
                 {vectors});
    expect_shape(kernel, "k [updates*terms]", View<const S* const, 1>{heads.k, {vectors}},
                 {vectors});
  }
  if (reads_heads && heads.updates > 0) {
    expect_shape(kernel, "lse [updates]", View<const A* const, 1>{heads.lse, {heads.updates}},
                 {heads.updates});
  }
  if (reads_heads && (heads.updates == 0 || heads.step != 1)) {
    expect_shape(kernel, "even [B,T]", heads.even, {B, T});
  }
  return {
      .q = heads.q,
      .k = heads.k,
      .lse = heads.lse,
      .even = heads.even.data,
      .padding_mask = heads.padding_mask.data,
      .position_offsets = heads.position_offset,
      .offsets = heads.offsets.data,
      .scale = static_cast<A>(heads.scale),
      .damping = static_cast<A>(heads.damping),
      .undamped = static_cast<A>(1 - heads.damping),
      .step = static_cast<A>(heads.step),
      .kept = static_cast<A>(1 - heads.step),
      .damped = heads.damping != 0,
      .stepped = heads.step != 1,
      .causal = heads.causal,
      .blocks = heads.blocks,
      .updates = static_cast<int>(heads.updates),
      .terms = static_cast<int>(heads.terms),
      .B = static_cast<int>(B),
      .C = static_cast<int>(heads.channels),
      .K = static_cast<int>(K),
      .T = static_cast<int>(T),
      .R = static_cast<int>(R),
      .r = static_cast<int>(heads.rank),
      .rows = heads.blocks.blocks == nullptr ? static_cast<int>(R) : heads.blocks.rows,
      .reach = static_cast<int>(heads.window == 0 || heads.window / 2 > R ? R : heads.window / 2)};
}

// The same where T = R.
template <class S>
HeadParams<S> whole_head_params(const char* kernel, const HeadOperands<S>& heads,
                                bool reads_heads) {
  if (heads.position_offset != nullptr) {
    throw simt::Error(std::string(kernel) +
                      ": position_offset: expected null, the whole sequence at once");
  }
  return head_params(kernel, heads, heads.padding_mask.shape[1], reads_heads);
}

// The grid of a kernel with a block per 32 words and per `per_row` of every row of the batch.
template <class S>
dim3 head_grid(const HeadParams<S>& p, int per_row) {
  return dim3(blocks_for(p.T, kSide), static_cast<unsigned>(per_row), static_cast<unsigned>(p.B));
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
