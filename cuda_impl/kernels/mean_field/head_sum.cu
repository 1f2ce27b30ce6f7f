// What words hear through heads in the Probabilistic Transformer, with Qh of HeadOperands
// (mean_field.h) rebuilt tile by tile, and k(t,s) the distance group of a pair:
//   heads_sum       out[t] = sum_{s: k(t,s) = k} Qh[t,s] v[s]  of channel c, group k: from my heads
//   dependents_sum  out[s] = sum_{t: k(t,s) = k} Qh[t,s] v[t]  from the words whose head I am
//
//   q        [B,K*C,T,r]    stored as S, through a device table of pointers
//   k, v     [B,K*C,R,r]    likewise, v by itself; with blocks [blocks,K*C,blocks.rows,r]
//   lse      [B,C,T] of each update, even [B,T]  accum_t<S>
//   out      [B,T,K*C*r]    accum_t<S>: channels concatenated; nothing is rounded to S
// A pair that cannot be word and head is left out by selection: no product with its value is
// formed.
// No [T,R] array exists. With the values' gradients as v the two are each other's adjoint.
// Launch: one block of 4 warps per 32 rows of out of one head; tiles of the other words that its
// group or the window does not reach are skipped. Same limits as head_scores.cu.
// Longest addition chain: scores as in head_tile.h; out R, and 1 to accumulate.
// CPU counterpart: reference/ops/attend.cpp, reference/ops/distance.cpp
#include "cuda_impl/kernels/tiles/head_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

template <class S, bool kHeadRows>
__global__ void __launch_bounds__(kTileThreads, 1)
    head_sum_kernel(accum_t<S>* g_out, const S* __restrict__ g_v, HeadParams<S> p,
                    bool accumulate) {
  using A = accum_t<S>;
  simt::Smem smem;
  const int k = static_cast<int>(blockIdx.y) / p.C, c = static_cast<int>(blockIdx.y) % p.C;
  const HeadTile<S, kHeadRows> tile(smem, p, static_cast<int>(blockIdx.z), c);
  const WeightedRows<A> weighted(smem);
  const int row0 = static_cast<int>(blockIdx.x) * kSide;

  A r_sum[kColumnGroups][kOwnRows] = {};
  const int end = kHeadRows ? p.words_end(row0) : p.heads_end(tile.b, row0);
  int column0 = kHeadRows ? p.words_begin(row0) : p.heads_begin(tile.b, row0);
  for (; column0 < end; column0 += kSide) {
    const Pairs<kHeadRows> at(p, tile.b, row0, column0);
    if (!at.meets(p, k)) continue;
    A r_heads[kOwnRows];
    tile.heads(r_heads, at);
    tile.tile.load({nullptr, 0}, 0, tile.columns_of(g_v, k, column0), p.R - column0);
    weighted.add(r_sum, r_heads, at.rows_of(p, k), tile.tile);
  }
  const int64_t width = int64_t{p.K} * p.C * p.r;
  A* g_rows = g_out + (int64_t{tile.b} * p.T + row0) * width + int64_t{blockIdx.y} * p.r;
  store_rows(g_rows, width, r_sum, p.T - row0, p.r, accumulate);
}

template <class S, bool kHeadRows>
void launch_sum(const char* kernel, View<accum_t<S>, 3> out, const HeadOperands<S>& heads,
                In<S, 4> v, bool accumulate, Stream stream) {
  const HeadParams<S> p = kHeadRows ? whole_head_params(kernel, heads, true)
                                    : head_params(kernel, heads, out.shape[1], true);
  const int64_t all = int64_t{p.K} * p.C;
  expect_shape(kernel, "out [B,T,K*C*r]", out, {p.B, p.T, all * p.r});
  const bool in_blocks = heads.blocks.blocks != nullptr;
  expect_shape(kernel, "v [B,K*C,R,r]", v, {in_blocks ? v.shape[0] : p.B, all, p.rows, p.r});
  simt::launch(LaunchName(kernel, v.shape).text, head_sum_kernel<S, kHeadRows>,
               head_grid(p, p.K * p.C), dim3(kTileThreads), weighted_smem<S>(p.r).bytes, stream,
               out.data, v.data, p, accumulate);
}

}  // namespace

template <class S>
void heads_sum(View<accum_t<S>, 3> out, const HeadOperands<S>& heads, In<S, 4> v, bool accumulate,
               Stream stream) {
  launch_sum<S, false>("heads_sum", out, heads, v, accumulate, stream);
}

template <class S>
void dependents_sum(View<accum_t<S>, 3> out, const HeadOperands<S>& heads, In<S, 4> v,
                    bool accumulate, Stream stream) {
  launch_sum<S, true>("dependents_sum", out, heads, v, accumulate, stream);
}

#define ASSAY_INSTANTIATE(S)                                                                       \
  template void heads_sum<S>(View<accum_t<S>, 3>, const HeadOperands<S>&, In<S, 4>, bool, Stream); \
  template void dependents_sum<S>(View<accum_t<S>, 3>, const HeadOperands<S>&, In<S, 4>, bool,     \
                                  Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
