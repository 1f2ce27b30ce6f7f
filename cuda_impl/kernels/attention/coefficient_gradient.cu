// The gradient with respect to the coefficients of scores, in the coefficients' own layout. With P,
// dS and the scores of attention_backward.cu, for the layer i of a score sum:
//   dc_i(b,t,s) += sum dS[h,t,s] (q_i[h,t] . k_i[s])
// over the heads h and over every index of (b,t,s) that c_i does not depend on (stride 0).
//
//   c_i, dc_i  accum_t<S>, by the strides of Coefficients; the rest as in attention_backward.cu
// No [T,T] array is formed but where c_i is one. A hidden pair is left out by selection.
// Launch: one block of 4 warps per layer, per batch row where c_i depends on it, and per 32 queries
// or keys (per tile of both where c_i depends on both); it walks the rows of the batch, the heads
// and the other tiles. Every block forms the scores of all layers: layers^2 tiles of products, the
// simplest way. Limits and shared memory as attention_backward.cu.
// Longest addition chain: scores Dh, then layers; dc B*H*ceil(T/32), then 5.
// CPU counterpart: reference/ops/weighted_sum.cpp
#include "cuda_impl/kernels/attention/attention_backward_arguments.h"
#include "cuda_impl/kernels/tiles/pair_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

// What a coefficient depends on besides layer and batch row: the rows of a block's tile, or both.
enum class Axes { query, key, both };

// r_sum[r] += dS (q_i . k_i) of own row r and this lane's column, one tile of one head. Rows are
// keys with Axes::key, else queries.
template <class S, Axes kAxes>
SIMT_DEVICE void add_tile(accum_t<S> (&r_sum)[kOwnRows], const PairTile<S>& tile,
                          const BackwardParams<S>& p, int layer, int b, int h, int query0,
                          int key0) {
  using A = accum_t<S>;
  constexpr bool kRowsAreKeys = kAxes == Axes::key;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t head = int64_t{b} * p.H + h, key_head = int64_t{b} * p.Hkv + h / (p.H / p.Hkv);
  const int64_t queries_at = (head * p.T + query0) * p.Dh, keys_at = (key_head * p.T + key0) * p.Dh;
  const int queries = p.T - query0, keys = p.T - key0;
  const auto query_of = [&](int r) { return query0 + (kRowsAreKeys ? lane : warp * kOwnRows + r); };
  const auto key_of = [&](int r) { return key0 + (kRowsAreKeys ? warp * kOwnRows + r : lane); };
  const auto dots = [&](A(&r_dot)[kOwnRows], const Rows<S>& q, const Rows<S>& k) {
    if constexpr (kRowsAreKeys) {
      tile.load(k, keys, q, queries);
    } else {
      tile.load(q, queries, k, keys);
    }
    tile.dot(r_dot);
  };

  unsigned visible = 0;
  A r_score[kOwnRows], r_own[kOwnRows] = {}, r_dot[kOwnRows];
  for (int r = 0; r < kOwnRows; ++r) {
    const int t = query_of(r);
    visible |= static_cast<unsigned>(p.visible(b, t, key_of(r))) << r;
    r_score[r] = p.offset != nullptr && t < p.T ? p.offset[t] : A(0);
  }
  for (int i = 0; i < p.layers; ++i) {
    dots(r_dot, {p.q[i] + queries_at, p.Dh}, {p.k[i] + keys_at, p.Dh});
    for (int r = 0; r < kOwnRows; ++r) {
      if (i == layer) r_own[r] = r_dot[r];
      if (has(visible, r)) r_score[r] += p.coefficient(i, b, query_of(r), key_of(r)) * r_dot[r];
    }
  }
  const int64_t stride = int64_t{p.H} * p.Dh;
  const S* dcontext = p.dcontext + (int64_t{b} * p.T + query0) * stride + int64_t{h} * p.Dh;
  dots(r_dot, {dcontext, stride}, {p.v + keys_at, p.Dh});
  for (int r = 0; r < kOwnRows; ++r) {
    if (!has(visible, r)) continue;
    const int64_t at = head * p.T + query_of(r);
    const A ds = simt::exp(r_score[r] - p.lse[at]) * (r_dot[r] - p.delta[at]);
    r_sum[r] += ds * r_own[r];
  }
}

template <class S, Axes kAxes>
__global__ void __launch_bounds__(kTileThreads, 1)
    coefficient_gradient_kernel(accum_t<S>* __restrict__ dc, BackwardParams<S> p, int tiles) {
  using A = accum_t<S>;
  simt::Smem smem;
  const PairTile<S> tile(smem, p.Dh);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int layer = static_cast<int>(blockIdx.y), row_tile = static_cast<int>(blockIdx.x) % tiles;
  const int first_b = p.c.batch != 0 ? static_cast<int>(blockIdx.z) : 0;
  const int end_b = p.c.batch != 0 ? first_b + 1 : p.B;
  // The tiles of the other axis: one, or those with a visible pair.
  const int other = static_cast<int>(blockIdx.x) / tiles;
  const int first = kAxes == Axes::both ? other : kAxes == Axes::key ? row_tile : 0;
  const int last = kAxes == Axes::both ? other : kAxes == Axes::key ? tiles - 1 : row_tile;

  A r_sum[kOwnRows] = {};
  for (int b = first_b; b < end_b; ++b) {
    for (int h = 0; h < p.H; ++h) {
      for (int column_tile = first; column_tile <= last; ++column_tile) {
        const int query_tile = kAxes == Axes::key ? column_tile : row_tile;
        const int key_tile = kAxes == Axes::key ? row_tile : column_tile;
        const int query0 = query_tile * kSide, key0 = key_tile * kSide;
        // The same for the whole block: no pair of the tile is visible.
        if (key0 > query0 || query0 >= p.window.query_end(key0, kSide, p.T)) continue;
        add_tile<S, kAxes>(r_sum, tile, p, layer, b, h, query0, key0);
      }
    }
  }

  A* g_dc = dc + layer * p.c.layer + first_b * p.c.batch;
  for (int r = 0; r < kOwnRows; ++r) {
    const int row = row_tile * kSide + warp * kOwnRows + r, column = other * kSide + lane;
    if constexpr (kAxes == Axes::both) {
      if (row < p.T && column <= row) g_dc[row * p.c.query + column * p.c.key] += r_sum[r];
    } else {
      const A sum = simt::warp_sum(r_sum[r]);
      const int64_t step = kAxes == Axes::key ? p.c.key : p.c.query;
      if (lane == 0 && row < p.T) g_dc[row * step] += sum;
    }
  }
}

}  // namespace

template <class S>
void coefficient_gradient(accum_t<S>* dc, const AttentionBackwardArguments<S>& arguments,
                          Stream stream) {
  const BackwardParams<S> p = backward_params("coefficient_gradient", arguments);
  if (dc == nullptr) {
    throw simt::Error("coefficient_gradient: dc: expected memory, got a null pointer");
  }
  if (p.c.query == 0 && p.c.key == 0) {
    throw simt::Error(
        "coefficient_gradient: coefficients: expected a stride of queries or keys, got none; "
        "attention_backward has those of a layer");
  }
  const unsigned tiles = blocks_for(p.T, kSide), layers = static_cast<unsigned>(p.layers);
  const unsigned rows = p.c.batch != 0 ? static_cast<unsigned>(p.B) : 1;
  const bool both = p.c.query != 0 && p.c.key != 0;
  simt::launch(LaunchName("coefficient_gradient", arguments.v.shape).text,
               both           ? coefficient_gradient_kernel<S, Axes::both>
               : p.c.key != 0 ? coefficient_gradient_kernel<S, Axes::key>
                              : coefficient_gradient_kernel<S, Axes::query>,
               dim3(both ? tiles * tiles : tiles, layers, rows), dim3(kTileThreads),
               tile_smem<S>(p.Dh).bytes, stream, dc, p, tiles);
}

#define ASSAY_INSTANTIATE(S) \
  template void coefficient_gradient<S>(accum_t<S>*, const AttentionBackwardArguments<S>&, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
