// Backward of the heads of the Probabilistic Transformer, without a [T,T] array. For update n, with
// P_i, dP_i and the message sums they are used in as in prob_transformer.h:
//   delta     delta_n[t] = sum_s P_n[t,s] dP_n[t,s]
//   gradient  dF[t,s] = (1 - damping) scale sum_{i >= n} damping^(i-n) P_i (dP_i - delta_i[t])
//             dq[t] += sum_s dF[t,s] k_n[s],   dk[s] += sum_t dF[t,s] q_n[t]
// dP_i is low in rank: it is formed from du and dv, the gradients with respect to the sums, as
// scores are from q, k.
//
//   q, k, du, dv  [B,K*C,T,r]  stored as S, through device tables of pointers
//   weights  [updates,uses], lse and delta [B,C,T] of each update  accum_t<S>
//   dq, dk   [B,T,K*C*r]       accum_t<S>: heads concatenated; nothing is rounded to S
// A pair that cannot be word and head is left out by selection.
// Launch: one block of 4 warps per 32 words of a channel for delta; per 32 rows of a head for dq
// and for dk. Same limits as head_scores.cu.
// Longest addition chain: scores and dP as in head_tile.h, dP besides one of the uses; delta
// ceil(T/32) + 5; dq, dk T, and 1 to add.
// CPU counterpart: reference/ops/{attend,softmax,scores,distance}.cpp (their gradients)
#include "cuda_impl/kernels/tiles/head_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

// HeadUses and deltas as a kernel parameter.
template <class S>
struct UsedHeads : HeadParams<S> {
  using A = accum_t<S>;
  const S *const *used_q, *const *used_k, *const *du, *const *dv;
  const A* weights;
  const A* const* delta;
  int uses, update;
};

// r_dp[r] = dP_i where visible
template <class S, bool kHeadRows>
SIMT_DEVICE void probs_gradient(accum_t<S> (&r_dp)[kOwnRows], const HeadTile<S, kHeadRows>& tile,
                                const Pairs<kHeadRows>& at, const UsedHeads<S>& p, int i) {
  using A = accum_t<S>;
  for (int r = 0; r < kOwnRows; ++r) r_dp[r] = A(0);
  for (int j = 0; j < p.uses; ++j) {
    const A weight = p.weights[i * p.uses + j];
    if (weight == A(0)) continue;  // the same for the whole block
    A r_use[kOwnRows] = {};
    for (int m = j * p.terms; m < (j + 1) * p.terms; ++m) {
      tile.add_products(r_use, at, p.du[m], p.used_k[m]);
      if (p.dv != nullptr) tile.add_products(r_use, at, p.used_q[m], p.dv[m]);
    }
    for (int r = 0; r < kOwnRows; ++r) r_dp[r] += weight * r_use[r];
  }
}

template <class S>
__global__ void __launch_bounds__(kTileThreads, 1)
    delta_kernel(accum_t<S>* __restrict__ g_delta, UsedHeads<S> p) {
  using A = accum_t<S>;
  simt::Smem smem;
  const HeadTile<S, false> tile(smem, p, static_cast<int>(blockIdx.z),
                                static_cast<int>(blockIdx.y));
  const int t0 = static_cast<int>(blockIdx.x) * kSide, end = p.heads_end(tile.b, t0);
  A r_delta[kOwnRows] = {};
  for (int s0 = p.heads_begin(tile.b, t0); s0 < end; s0 += kSide) {
    const Pairs<false> at(p, tile.b, t0, s0);
    A r_message[kOwnRows] = {}, r_dp[kOwnRows];
    for (int i = 0; i <= p.update; ++i) tile.next_message(r_message, at, i);
    probs_gradient(r_dp, tile, at, p, p.update);
    for (int r = 0; r < kOwnRows; ++r) {
      if (!row_in(at.visible, r)) continue;
      r_delta[r] += tile.softmax(r_message[r], p.update, at.word(r)) * r_dp[r];
    }
  }
  const int first = t0 + static_cast<int>(threadIdx.x) / 32 * kOwnRows;
  for (int r = 0; r < kOwnRows; ++r) {
    const A total = simt::warp_sum(r_delta[r]);
    if (threadIdx.x % 32 == 0 && first + r < p.T) g_delta[tile.row_at(first + r)] = total;
  }
}

// r_df[r] = dF of p.update where visible, else 0
template <class S, bool kHeadRows>
SIMT_DEVICE void message_gradient(accum_t<S> (&r_df)[kOwnRows], const HeadTile<S, kHeadRows>& tile,
                                  const Pairs<kHeadRows>& at, const UsedHeads<S>& p) {
  using A = accum_t<S>;
  A r_message[kOwnRows] = {};
  for (int r = 0; r < kOwnRows; ++r) r_df[r] = A(0);
  A factor = p.undamped * p.scale;
  for (int i = 0; i < p.updates; ++i) {
    tile.next_message(r_message, at, i);
    if (i < p.update) continue;
    A r_dp[kOwnRows];
    probs_gradient(r_dp, tile, at, p, i);
    for (int r = 0; r < kOwnRows; ++r) {
      if (!row_in(at.visible, r)) continue;
      const int t = at.word(r);
      const A slope = r_dp[r] - p.delta[i][tile.row_at(t)];
      r_df[r] += factor * (tile.softmax(r_message[r], i, t) * slope);
    }
    factor *= p.damping;
  }
}

// dq of 32 words, or with kHeadRows dk, of one head. g_values: k, respectively q, of the update.
template <class S, bool kHeadRows>
__global__ void __launch_bounds__(kTileThreads, 1)
    gradient_kernel(accum_t<S>* g_out, const S* const* g_values, UsedHeads<S> p) {
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
    A r_df[kOwnRows];
    message_gradient(r_df, tile, at, p);
    tile.tile.load({nullptr, 0}, 0, {*g_values + tile.vector_at(k, column0), p.r}, p.T - column0);
    weighted.add(r_sum, r_df, at.rows_of(p, k), tile.tile);
  }
  const int64_t width = int64_t{p.K} * p.C * p.r;
  A* g_rows = g_out + (int64_t{tile.b} * p.T + row0) * width + int64_t{blockIdx.y} * p.r;
  store_rows(g_rows, width, r_sum, p.T - row0, p.r, true);
}

template <class S>
UsedHeads<S> used_heads(const char* kernel, const HeadOperands<S>& heads, const HeadUses<S>& uses,
                        int64_t update) {
  using A = accum_t<S>;
  UsedHeads<S> p;
  static_cast<HeadParams<S>&>(p) = whole_head_params(kernel, heads, true);
  const int64_t vectors = uses.uses * heads.terms;
  const auto expect_table = [&](const char* name, const S* const* table) {
    expect_shape(kernel, name, View<const S* const, 1>{table, {vectors}}, {vectors});
  };
  if (uses.dv != nullptr) expect_table("used q [uses*terms]", uses.q);
  expect_table("used k [uses*terms]", uses.k);
  expect_table("du [uses*terms]", uses.du);
  expect_shape(kernel, "weights [updates,uses]",
               View<const A, 2>{uses.weights, {heads.updates, uses.uses}},
               {heads.updates, uses.uses});
  expect_at_most(kernel, "update + 1", update + 1, heads.updates);
  p.used_q = uses.q;
  p.used_k = uses.k;
  p.du = uses.du;
  p.dv = uses.dv;
  p.weights = uses.weights;
  p.delta = nullptr;
  p.uses = static_cast<int>(uses.uses);
  p.update = static_cast<int>(update);
  return p;
}

}  // namespace

template <class S>
void head_delta(View<accum_t<S>, 3> delta, const HeadOperands<S>& heads, const HeadUses<S>& uses,
                int64_t update, Stream stream) {
  const UsedHeads<S> p = used_heads("head_delta", heads, uses, update);
  expect_shape("head_delta", "delta [B,C,T]", delta, {p.B, p.C, p.T});
  simt::launch(LaunchName("head_delta", delta.shape).text, delta_kernel<S>, head_grid<S>(p, p.C),
               dim3(kTileThreads), tile_smem<S>(p.r).bytes, stream, delta.data, p);
}

template <class S>
void head_gradient(View<accum_t<S>, 3> dq, View<accum_t<S>, 3> dk, const HeadOperands<S>& heads,
                   const HeadUses<S>& uses, const accum_t<S>* const* delta, int64_t update,
                   int64_t term, Stream stream) {
  const char* kernel = "head_gradient";
  UsedHeads<S> p = used_heads(kernel, heads, uses, update);
  p.delta = delta;
  const int64_t width = int64_t{p.K} * p.C * p.r, at = update * p.terms + term;
  expect_shape(kernel, "dq [B,T,K*C*r]", dq, {p.B, p.T, width});
  expect_shape(kernel, "dk [B,T,K*C*r]", dk, {p.B, p.T, width});
  expect_shape(kernel, "delta [updates]", View<const accum_t<S>* const, 1>{delta, {p.updates}},
               {p.updates});
  expect_at_most(kernel, "term + 1", term + 1, heads.terms);
  const dim3 grid = head_grid<S>(p, p.K * p.C);
  const std::size_t smem = weighted_smem<S>(p.r).bytes;
  simt::launch(LaunchName("head_gradient dq", dq.shape).text, gradient_kernel<S, false>, grid,
               dim3(kTileThreads), smem, stream, dq.data, heads.k + at, p);
  simt::launch(LaunchName("head_gradient dk", dk.shape).text, gradient_kernel<S, true>, grid,
               dim3(kTileThreads), smem, stream, dk.data, heads.q + at, p);
}

#define ASSAY_INSTANTIATE(S)                                                                       \
  template void head_delta<S>(View<accum_t<S>, 3>, const HeadOperands<S>&, const HeadUses<S>&,     \
                              int64_t, Stream);                                                    \
  template void head_gradient<S>(View<accum_t<S>, 3>, View<accum_t<S>, 3>, const HeadOperands<S>&, \
                                 const HeadUses<S>&, const accum_t<S>* const*, int64_t, int64_t,   \
                                 Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
