// A tile of attention scores, kQueries queries by kKeys keys of one head:
//   score[t,s] = sum_{i<layers} c_i(b,t,s) sum_d q_i[t,d] * k_i[s,d] + offset[t]
//
// Queries are counted by rows of their array; row r of batch row b stands at position
// position_offset + r.
// The layers' heads are streamed one after the other through shared memory, so no method stores a
// [T,T] sum. Warp w owns the queries [kRowsPerWarp*w, kRowsPerWarp*(w+1)) of the tile, lane s its
// key s. Longest addition chain Dh + layers, ascending in i and d.
#pragma once

#include "cuda_impl/kernels/tiles/window.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

inline constexpr int kWarps = 4;
inline constexpr int kRowsPerWarp = 8;
inline constexpr int kQueries = kWarps * kRowsPerWarp;
inline constexpr int kKeys = 32;
inline constexpr int kScoreThreads = 32 * kWarps;
inline constexpr int kQueryStride =
    kQueries + 4;  // of the transposed query tile: spreads the stores

// ScoreOperands as a kernel parameter, with its extents in int.
template <class S>
struct ScoreParams {
  const S* const* q;
  const S* const* k;
  const uint8_t* padding_mask;
  const int32_t* position_offsets;
  Coefficients<accum_t<S>> coefficients;
  const accum_t<S>* offset;
  Window window;
  Ring ring;
  BlockTable blocks;
  int layers, H, Hkv, T, R, Dh;
  int positions;
  int rows;  // of a block of k and v

  // Elements from the beginning of a head's k or v in block 0 to key key0 + n of the tile at key0;
  // `block` elements from block to block.
  SIMT_DEVICE int64_t key_at(int b, int key0, int n, int64_t block) const {
    if (blocks.blocks == nullptr) return b * block + int64_t{ring.row_of(key0) + n} * Dh;
    const auto [at, row] = blocks.of(b, key0 + n);
    return at * block + int64_t{row} * Dh;
  }
  // The beginning of that, of a query head's k.
  SIMT_DEVICE const S* k_of(int layer, int h) const {
    return k[layer] + int64_t{h / (H / Hkv)} * rows * Dh;
  }
  SIMT_DEVICE int64_t k_block() const { return int64_t{Hkv} * rows * Dh; }

  // The index of a coefficient is that of its layer, of its key and of its query together.
  SIMT_DEVICE int64_t coefficient_of_key(int b, int position) const {
    const auto& c = coefficients;
    if (!by_block()) return b * c.batch + ring.row_of(position) * c.key;
    return c.key == 0 ? 0 : coefficient_in_block(b, position, c.key);
  }
  SIMT_DEVICE int64_t coefficient_of_query(int b, int position) const {
    const auto& c = coefficients;
    if (!by_block() || c.query == 0) return ring.row_of(position) * c.query;
    return coefficient_in_block(b, position, c.query);
  }
  SIMT_DEVICE bool by_block() const { return blocks.blocks != nullptr && coefficients.batch != 0; }
  SIMT_DEVICE int64_t coefficient_in_block(int b, int position, int64_t stride) const {
    const auto [block, row] = blocks.of(b, position);
    return block * coefficients.batch + row * stride;
  }

  // The position of batch row b's query 0.
  SIMT_DEVICE int position_offset(int b) const {
    return position_offsets == nullptr ? 0 : position_offsets[b];
  }
  // One past the last position that a query before `row` may see.
  SIMT_DEVICE int key_end(int position_offset, int row) const {
    const int end = position_offset + (row < T ? row : T);
    return end < positions ? end : positions;
  }
};

// ReplayLayout as a kernel parameter, its defaults put in.
template <class A>
struct ReplayParams {
  int64_t context, lse, v, context_row, v_batch;
  TermWeights<A> terms;
  int B;
};

// The takes of ScoreTile, in shared memory.
template <class S>
simt::SmemSize score_smem(int64_t Dh) {
  using A = accum_t<S>;
  return simt::SmemSize{}
      .template add<A>(static_cast<std::size_t>(Dh * kQueryStride))
      .template add<A>(static_cast<std::size_t>(kKeys * (Dh + 1)));
}

template <class S>
struct ScoreTile {
  using A = accum_t<S>;
  A* s_q;  // [Dh][kQueryStride], the query tile of one layer, transposed
  A* s_k;  // [kKeys][Dh+1], the key tile of one layer

  SIMT_DEVICE ScoreTile(simt::Smem& smem, int Dh)
      : s_q(smem.take<A>(std::size_t(Dh) * kQueryStride)),
        s_k(smem.take<A>(std::size_t(kKeys) * (Dh + 1))) {}

  // score[r] = the sum above for query query0 + kRowsPerWarp*warp + r and key key0 + lane.
  // Ends without a barrier: the tiles may be overwritten after the caller's next one.
  // keep_queries: with one layer, the query tile of the call before is still there.
  SIMT_DEVICE void scores(A (&r_score)[kRowsPerWarp], const ScoreParams<S>& p, int b, int h,
                          int query0, int position_offset, int key0, bool keep_queries) {
    const int tid = static_cast<int>(threadIdx.x), lane = tid % 32, warp = tid / 32;
    const int64_t query_head = int64_t{b} * p.H + h;
    const int position0 = position_offset + query0 + warp * kRowsPerWarp, key = key0 + lane;
    const int end = p.key_end(position_offset, p.T);
    for (int r = 0; r < kRowsPerWarp; ++r) {
      r_score[r] = p.offset != nullptr && position0 + r < end ? p.offset[position0 + r] : A(0);
    }

    for (int layer = 0; layer < p.layers; ++layer) {
      if (layer > 0) __syncthreads();  // every thread has read the layer before
      if (!keep_queries || p.layers > 1) {
        const S* g_q = p.q[layer] + (query_head * p.T + query0) * p.Dh;
        for (int i = tid; i < kQueries * p.Dh; i += kScoreThreads) {
          const int row = i / p.Dh, d = i % p.Dh;
          s_q[d * kQueryStride + row] = query0 + row < p.T ? simt::to_accum(g_q[i]) : A(0);
        }
      }
      const S* g_k = p.k_of(layer, h);
      for (int i = tid; i < kKeys * p.Dh; i += kScoreThreads) {
        const int row = i / p.Dh, d = i % p.Dh;
        s_k[row * (p.Dh + 1) + d] =
            key0 + row < end ? simt::to_accum(g_k[p.key_at(b, key0, row, p.k_block()) + d]) : A(0);
      }
      __syncthreads();  // the layer's tiles (and what the caller put beside them) are complete

      const A* s_rows = s_q + warp * kRowsPerWarp;
      const A* s_key = s_k + lane * (p.Dh + 1);
      A r_product[kRowsPerWarp] = {};
      for (int d = 0; d < p.Dh; ++d) {
        const A key_value = s_key[d];
        SIMT_UNROLL for (int r = 0; r < kRowsPerWarp; ++r) {
          r_product[r] += s_rows[d * kQueryStride + r] * key_value;
        }
      }
      if (key >= end) continue;  // no such key: nobody reads its score
      const Coefficients<A>& c = p.coefficients;
      const A* g_c = c.data + layer * c.layer + p.coefficient_of_key(b, key);
      SIMT_UNROLL for (int r = 0; r < kRowsPerWarp; ++r) {
        if (position0 + r >= end) continue;
        r_score[r] += g_c[p.coefficient_of_query(b, position0 + r)] * r_product[r];
      }
    }
  }
};

// In blocks an element is of a key or of a query.
template <class S>
void expect_block_coefficients(const char* kernel, const ScoreOperands<S>& scores) {
  const auto& c = scores.coefficients;
  if (scores.blocks.blocks == nullptr || c.batch == 0 || (c.query == 0) != (c.key == 0)) return;
  throw simt::Error(std::string(kernel) +
                    ": coefficients: expected those in blocks to have a stride for a query or for "
                    "a key, got " +
                    std::to_string(c.query) + " and " + std::to_string(c.key));
}

// Checks the operands for T queries and the keys of `padding_mask`'s [B,R] and turns them into the
// kernel parameter.
template <class S>
ScoreParams<S> score_params(const char* kernel, const ScoreOperands<S>& scores, int64_t T) {
  const auto [B, R] = scores.padding_mask.shape;
  expect_shape(kernel, "padding_mask [B,R]", scores.padding_mask, {B, R});
  const int64_t positions = scores.positions == 0 ? R : scores.positions;
  expect_ring(kernel, scores.ring, R);
  expect_blocks(kernel, scores.blocks, scores.ring, positions);
  expect_block_coefficients(kernel, scores);
  expect_at_most(kernel, "T", T, R);
  if (scores.ring.round == 0) expect_at_most(kernel, "positions", positions, R);
  if (scores.ring.round > 0 && (scores.window == 0 || scores.sinks > scores.ring.kept ||
                                scores.window + T - 1 > scores.ring.round)) {
    throw simt::Error(std::string(kernel) + ": ring: expected a window, sinks that are kept, and " +
                      "at least window + T - 1 rows taken in turn, got window " +
                      std::to_string(scores.window) + ", sinks " + std::to_string(scores.sinks) +
                      ", T " + std::to_string(T) + ", kept " + std::to_string(scores.ring.kept) +
                      ", round " + std::to_string(scores.ring.round));
  }
  if (scores.position_offset == nullptr && T != R) {
    throw simt::Error(std::string(kernel) + ": T: expected as many queries as keys (" +
                      std::to_string(R) + ") where position_offset is null, got " +
                      std::to_string(T));
  }
  expect_at_most(kernel, "Dh", scores.Dh, kMaxHeadSize);
  expect_at_most(kernel, "B", B, 65535);
  expect_at_most(kernel, "H", scores.H, 65535);
  expect_at_most(kernel, "Hkv", scores.Hkv, scores.H);
  if (scores.H % scores.Hkv != 0) {
    throw simt::Error(std::string(kernel) + ": Hkv: expected a divisor of H = " +
                      std::to_string(scores.H) + ", got " + std::to_string(scores.Hkv));
  }
  expect_shape(kernel, "q [layers]", View<const S* const, 1>{scores.q, {scores.layers}},
               {scores.layers});
  expect_shape(kernel, "k [layers]", View<const S* const, 1>{scores.k, {scores.layers}},
               {scores.layers});
  expect_shape(kernel, "coefficients",
               View<const accum_t<S>, 1>{scores.coefficients.data, {scores.layers}},
               {scores.layers});
  return {.q = scores.q,
          .k = scores.k,
          .padding_mask = scores.padding_mask.data,
          .position_offsets = scores.position_offset,
          .coefficients = scores.coefficients,
          .offset = scores.offset,
          .window = window_of(kernel, scores, positions),
          .ring = scores.ring,
          .blocks = scores.blocks,
          .layers = static_cast<int>(scores.layers),
          .H = static_cast<int>(scores.H),
          .Hkv = static_cast<int>(scores.Hkv),
          .T = static_cast<int>(T),
          .R = static_cast<int>(R),
          .Dh = static_cast<int>(scores.Dh),
          .positions = static_cast<int>(positions),
          .rows = static_cast<int>(scores.rows())};
}

// [B,Hkv,R,Dh], or with blocks [blocks,Hkv,blocks.rows,Dh].
template <class S>
void expect_values(const char* kernel, const View<const S, 4>& v, const ScoreOperands<S>& scores) {
  const bool in_blocks = scores.blocks.blocks != nullptr;
  expect_shape(kernel, "v [B,Hkv,R,Dh]", v,
               {in_blocks ? v.shape[0] : scores.padding_mask.shape[0], scores.Hkv, scores.rows(),
                scores.Dh});
}

template <class S>
ReplayParams<accum_t<S>> replay_params(const char* kernel, const ScoreOperands<S>& scores,
                                       const ReplayLayout<accum_t<S>>& layout) {
  const int64_t B = scores.padding_mask.shape[0], R = scores.rows();
  expect_at_most(kernel, "count * B", layout.count * B, 65535);
  if (layout.count > 1) expect_at_most(kernel, "layers, of several replays", scores.layers, 1);
  const auto or_else = [](int64_t stride, int64_t usual) { return stride == 0 ? usual : stride; };
  return {.context = layout.context,
          .lse = layout.lse,
          .v = layout.v,
          .context_row = or_else(layout.context_row, scores.H * scores.Dh),
          .v_batch = or_else(layout.v_batch, scores.Hkv * R * scores.Dh),
          .terms = layout.terms,
          .B = static_cast<int>(B)};
}

// What both variants of stored_attention() expect.
template <class S>
ScoreParams<S> stored_params(const char* kernel, const View<S, 3>& context, const In<S, 4>& probs,
                             const ScoreOperands<S>& scores, const In<S, 4>& v) {
  const auto [B, T] = scores.padding_mask.shape;
  const ScoreParams<S> params = score_params(kernel, scores, T);
  expect_whole(kernel, scores);
  expect_shape(kernel, "context [B,T,H*Dh]", context, {B, T, scores.H * scores.Dh});
  expect_shape(kernel, "probs [B,H,T,T]", probs, {B, scores.H, T, T});
  expect_shape(kernel, "v [B,Hkv,T,Dh]", v, {B, scores.Hkv, T, scores.Dh});
  return params;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
