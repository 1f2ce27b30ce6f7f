// The heads of the Probabilistic Transformer: their normaliser, and for taps scores and
// probabilities written out. With Mh and Qh of HeadOperands (mean_field.h):
//   lse     lse[t] = log sum_{s can be the head of t} exp(scale Mh[t,s]), -inf without such an s
//   scores  out[t,s] = scale Mh[t,s]      -inf where s cannot be the head of t
//   probs   out[t,s] = Qh[t,s]            0 where s cannot be the head of t
//
//   q     [B,K*C,T,r], k [B,K*C,R,r]  stored as S, through device tables of pointers; with blocks k
//                                     [blocks,K*C,blocks.rows,r]
//   padding_mask  [B,R], position_offset [B], offsets [K,2], even [B,T]
//   lse   [B,C,T], out [B,C,T,T]  accum_t<S>; nothing is rounded to S
// A pair that cannot be word and head is left out by selection. lse forms no [T,T] array.
// Launch: one block of 4 warps per 32 words of a channel for lse, per tile of 32 x 32 for the
// others. Any B, T, R, C, K, updates, label groups >= 1; r <= kMaxHeadSize.
// Longest addition chain: scores as in head_tile.h; lse ceil(R/32), rescaled at most as often, + 6.
// CPU counterpart: reference/prob_transformer/, reference/ops/{scores,distance,mask,softmax}.cpp
#include "cuda_impl/kernels/tiles/head_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

template <class S>
__global__ void __launch_bounds__(kTileThreads, 1)
    head_lse_kernel(accum_t<S>* __restrict__ g_lse, HeadParams<S> p) {
  using A = accum_t<S>;
  simt::Smem smem;
  const HeadTile<S, false> tile(smem, p, static_cast<int>(blockIdx.z),
                                static_cast<int>(blockIdx.y));
  const int t0 = static_cast<int>(blockIdx.x) * kSide;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  A r_max[kOwnRows], r_sum[kOwnRows] = {};  // of this lane's columns
  for (int r = 0; r < kOwnRows; ++r) r_max[r] = kLowest<A>;
  unsigned seen = 0;

  const int end = p.heads_end(tile.b, t0);
  for (int s0 = p.heads_begin(tile.b, t0); s0 < end; s0 += kSide) {
    const Pairs<false> at(p, tile.b, t0, s0);
    A r_message[kOwnRows] = {};
    for (int i = 0; i < p.updates; ++i) tile.next_message(r_message, at, i);
    seen |= at.visible;
    for (int r = 0; r < kOwnRows; ++r) {
      if (!row_in(at.visible, r)) continue;
      const A score = p.scale * r_message[r], highest = simt::max(r_max[r], score);
      r_sum[r] = r_sum[r] * simt::exp(r_max[r] - highest) + simt::exp(score - highest);
      r_max[r] = highest;
    }
  }

  const int first = t0 + static_cast<int>(threadIdx.x) / 32 * kOwnRows;
  for (int r = 0; r < kOwnRows; ++r) {
    const bool any = __any_sync(simt::kFullMask, row_in(seen, r)) != 0;
    const A highest = simt::warp_max(r_max[r]);
    const A total = simt::warp_sum(r_sum[r] * simt::exp(r_max[r] - highest));
    if (lane != 0 || first + r >= p.T) continue;
    g_lse[tile.row_at(first + r)] = any ? highest + simt::log(total) : -kInfinity<A>;
  }
}

template <class S, bool kProbs>
__global__ void __launch_bounds__(kTileThreads, 1)
    head_matrix_kernel(accum_t<S>* __restrict__ g_out, HeadParams<S> p) {
  using A = accum_t<S>;
  simt::Smem smem;
  const HeadTile<S, false> tile(smem, p, static_cast<int>(blockIdx.z),
                                static_cast<int>(blockIdx.y));
  const int tiles = (p.T + kSide - 1) / kSide, index = static_cast<int>(blockIdx.x);
  const Pairs<false> at(p, tile.b, index % tiles * kSide, index / tiles * kSide);
  A r_value[kOwnRows] = {};
  if constexpr (kProbs) {
    tile.heads(r_value, at);
  } else {
    for (int i = 0; i < p.updates; ++i) tile.next_message(r_value, at, i);
  }
  for (int r = 0; r < kOwnRows; ++r) {
    if (at.row + r >= p.T || at.column >= p.T) continue;
    A& out = g_out[tile.row_at(at.row + r) * p.T + at.column];
    if constexpr (kProbs) {
      out = r_value[r];
    } else {
      out = row_in(at.visible, r) ? p.scale * r_value[r] : -kInfinity<A>;
    }
  }
}

template <class S, bool kProbs>
void launch_matrix(const char* kernel, View<accum_t<S>, 4> out, const HeadOperands<S>& heads,
                   Stream stream) {
  const HeadParams<S> p = whole_head_params(kernel, heads, kProbs);
  expect_shape(kernel, "out [B,C,T,T]", out, {p.B, p.C, p.T, p.T});
  dim3 grid = head_grid(p, p.C);
  grid.x *= grid.x;
  simt::launch(LaunchName(kernel, out.shape).text, head_matrix_kernel<S, kProbs>, grid,
               dim3(kTileThreads), tile_smem<S>(p.r).bytes, stream, out.data, p);
}

}  // namespace

template <class S>
void head_lse(View<accum_t<S>, 3> lse, const HeadOperands<S>& heads, Stream stream) {
  const HeadParams<S> p = head_params("head_lse", heads, lse.shape[2], false);
  expect_shape("head_lse", "lse [B,C,T]", lse, {p.B, p.C, p.T});
  expect_at_most("head_lse", "updates", heads.updates, INT_MAX);
  simt::launch(LaunchName("head_lse", lse.shape).text, head_lse_kernel<S>, head_grid(p, p.C),
               dim3(kTileThreads), tile_smem<S>(p.r).bytes, stream, lse.data, p);
}

template <class S>
void head_scores(View<accum_t<S>, 4> out, const HeadOperands<S>& heads, Stream stream) {
  launch_matrix<S, false>("head_scores", out, heads, stream);
}

template <class S>
void head_probs(View<accum_t<S>, 4> out, const HeadOperands<S>& heads, Stream stream) {
  launch_matrix<S, true>("head_probs", out, heads, stream);
}

#define ASSAY_INSTANTIATE(S)                                                         \
  template void head_lse<S>(View<accum_t<S>, 3>, const HeadOperands<S>&, Stream);    \
  template void head_scores<S>(View<accum_t<S>, 4>, const HeadOperands<S>&, Stream); \
  template void head_probs<S>(View<accum_t<S>, 4>, const HeadOperands<S>&, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
