// attention_backward_tiled: attention backward without a [T,T] array, for one use context = P v of
// the probabilities
//   P[t,s] = exp(scores[t,s] - lse[t]),
//   scores[t,s] = sum_{i<layers} c_i(b,t,s) (q_i[t] . k_i[s]) + offset[t]
// of head h, key head g = floor(h / (H/Hkv)); s is visible to t as in attention.cu:
//   dv[s]      = sum_{h of g} sum_t P[t,s] dcontext[t]
//   dS[t,s]    = P[t,s] * (dcontext[t] . v[s] - delta[t])
//   dq_i[t]   += sum_s c_i(b,t,s) dS[t,s] k_i[s]
//   dk_i[s]   += sum_{h of g} sum_t c_i(b,t,s) dS[t,s] q_i[t]
//   dc_i      += sum_{b,h,t,s} dS[t,s] (q_i[t] . k_i[s])
// The same P may be used again with other values (replay): each use adds its share.
//
//   q_i [B,H,T,Dh], k_i, v [B,Hkv,T,Dh], dcontext [B,T,H*Dh]  stored as S
//   c_i, by its strides, and offset [T]          accum_t<S>; as in attention.cu
//   lse, delta [B,H,T]                           accum_t<S>; from attention.cu, attention_delta.cu
//   dq_i, dk_i (as q_i, k_i), dv, dc [layers]    accum_t<S>; nothing is rounded to S
//   coefficient_parts [layers,B,H,4*ceil(T/32)]  accum_t<S>, scratch: dc_i per warp of queries
// A hidden pair is left out by selection: no product with its P or dS, which are 0, is formed. A
// row without a visible key has P = 0. dq_i, dk_i, dc are left out where the caller wants none.
// Launch: one block of 4 warps per 32 queries of a head for dq and dc; one per 32 keys of a key
// head, which walks the query heads that share it, for dk and dv; one warp per layer to add up dc.
// Tiles of 32 x 32 pairs; a layer's vectors are read for the scores, and again for its own
// gradient. Any B, T, layers >= 1, Hkv dividing H, Dh <= kMaxHeadSize. Shared memory per block, in
// numbers of accum_t<S>: 68*Dh + 2080 for queries, 68*Dh + 3104 for keys. ptxas 13.0, sm_90: 216
// registers (queries), 159 (keys) and 206 (keys, windowed) in float, nothing spilled; 251, 244 and
// 255 in double, which spills 48 bytes (keys, windowed).
// Longest addition chain: scores Dh, then layers; dq T, dk and dv T*H/Hkv, in steps of 32; dc
// ceil(T/32) + 13, then ceil(B*H*ceil(T/32)/8) + 6.
// CPU counterpart: reference/ops/{attend,softmax,scores,weighted_sum}.cpp
#include "cuda_impl/kernels/attention/attention_backward_arguments.h"
#include "cuda_impl/kernels/attention/attention_backward_variants.h"
#include "cuda_impl/kernels/tiles/pair_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

// What ScoreGradients asks for; dq, dk and parts may be null.
template <class S>
struct Params : BackwardParams<S> {
  using A = accum_t<S>;
  A *const *dq, *const *dk;
  A* parts;  // of dc
  A* dv;
};

// dq_i of 32 queries, and their share of dc_i. Rows are queries, columns are keys.
template <class S>
__global__ void __launch_bounds__(kTileThreads, 1) query_gradient_kernel(Params<S> p) {
  using A = accum_t<S>;
  simt::Smem smem;
  const PairTile<S> tile(smem, p.Dh);
  // c_i dS of even and of odd layers, each [kTileWarps][kSide][kOwnRows]: those of one layer may
  // still be read while the next one's are written
  A* s_all = smem.take<A>(2 * kAllWeights);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const int query0 = static_cast<int>(blockIdx.x) * kSide, row0 = query0 + warp * kOwnRows;
  const int64_t head = int64_t{b} * p.H + h, key_head = int64_t{b} * p.Hkv + h / (p.H / p.Hkv);
  const int64_t head_queries = (head * p.T + query0) * p.Dh;
  const int queries = p.T - query0;
  const int64_t context_stride = int64_t{p.H} * p.Dh;
  const Rows<S> dcontext{
      p.dcontext + (int64_t{b} * p.T + query0) * context_stride + int64_t{h} * p.Dh,
      context_stride};

  const int end = query0 + kSide < p.T ? query0 + kSide : p.T;  // causal: no later key is read
  const Window tiles = p.window.of_row(b, 0, p.T).of_tile(query0, kSide);
  const int start = tiles.next_tile(0, query0, kSide);
  for (int key0 = start; key0 < end; key0 = tiles.next_tile(key0 + kSide, query0, kSide)) {
    const int64_t head_keys = (key_head * p.T + key0) * p.Dh;
    const int keys = p.T - key0;
    unsigned visible = 0;
    A r_score[kOwnRows], r_dot[kOwnRows];
    for (int r = 0; r < kOwnRows; ++r) {
      visible |= static_cast<unsigned>(p.visible(b, row0 + r, key0 + lane)) << r;
      r_score[r] = p.offset != nullptr && row0 + r < p.T ? p.offset[row0 + r] : A(0);
    }
    const bool dense = __all_sync(simt::kFullMask, visible == kAllVisible) != 0;
    for (int i = 0; i < p.layers; ++i) {
      tile.load({p.q[i] + head_queries, p.Dh}, queries, {p.k[i] + head_keys, p.Dh}, keys);
      tile.dot(r_dot);
      for (int r = 0; r < kOwnRows; ++r) {
        if (has(visible, r)) r_score[r] += p.coefficient(i, b, row0 + r, key0 + lane) * r_dot[r];
      }
    }
    tile.load(dcontext, queries, {p.v + head_keys, p.Dh}, keys);
    tile.dot(r_dot);

    A r_ds[kOwnRows] = {};
    for (int r = 0; r < kOwnRows; ++r) {
      const int64_t at = head * p.T + row0 + r;
      if (has(visible, r)) r_ds[r] = simt::exp(r_score[r] - p.lse[at]) * (r_dot[r] - p.delta[at]);
    }
    for (int i = 0; i < p.layers; ++i) {
      A* s_weights = s_all + i % 2 * kAllWeights + warp * kWeights;
      for (int r = 0; r < kOwnRows; ++r) {
        s_weights[lane * kOwnRows + r] =
            has(visible, r) ? p.coefficient(i, b, row0 + r, key0 + lane) * r_ds[r] : A(0);
      }
      tile.load({p.q[i] + head_queries, p.Dh}, queries, {p.k[i] + head_keys, p.Dh}, keys);
      if (p.parts != nullptr) {
        tile.dot(r_dot);
        A sum = A(0);
        for (int r = 0; r < kOwnRows; ++r) {
          if (has(visible, r)) sum += r_ds[r] * r_dot[r];
        }
        sum = simt::warp_sum(sum);
        A& part =
            p.parts[((int64_t{i} * p.B * p.H + head) * gridDim.x + blockIdx.x) * kTileWarps + warp];
        if (lane == 0) part = key0 == start ? sum : part + sum;
      }
      if (p.dq != nullptr) {
        A r_dq[kColumnGroups][kOwnRows] = {};
        tile.add_weighted(r_dq, s_weights, dense);
        store<true>(p.dq[i] + head_queries, r_dq, queries, p.Dh);
      }
    }
  }
}

// dv, and dk_i, of 32 keys. Rows are keys, columns are queries. kWindowed: the window hides some.
template <class S, bool kWindowed>
__global__ void __launch_bounds__(kTileThreads, 1) key_gradient_kernel(Params<S> p) {
  using A = accum_t<S>;
  simt::Smem smem;
  const PairTile<S> tile(smem, p.Dh);
  A* s_p = smem.take<A>(kAllWeights);        // [kTileWarps][kSide][kOwnRows]
  A* s_all = smem.take<A>(2 * kAllWeights);  // c_i dS, as in query_gradient_kernel
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int group = p.H / p.Hkv;
  const int g = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const int key0 = static_cast<int>(blockIdx.x) * kSide, row0 = key0 + warp * kOwnRows;
  const int64_t head_keys = ((int64_t{b} * p.Hkv + g) * p.T + key0) * p.Dh;
  const int keys = p.T - key0;
  const int64_t context_stride = int64_t{p.H} * p.Dh;
  s_p += warp * kWeights;

  // Causal: no earlier query sees a key; with a window, nor does one past query_end.
  const int end = kWindowed ? p.window.query_end(key0, kSide, p.T) : p.T;
  const int tiles = (end - key0 + kSide - 1) / kSide;
  A r_dv[kColumnGroups][kOwnRows] = {};
  for (int h = g * group; h < (g + 1) * group; ++h) {
    const int64_t head = int64_t{b} * p.H + h;
    for (int query_tile = 0; query_tile < tiles; ++query_tile) {
      const int query0 = key0 + query_tile * kSide;
      const int64_t head_queries = (head * p.T + query0) * p.Dh;
      const int queries = p.T - query0, query = query0 + lane;
      unsigned visible = 0;
      A r_score[kOwnRows], r_dot[kOwnRows];
      const A offset = p.offset != nullptr && query < p.T ? p.offset[query] : A(0);
      for (int r = 0; r < kOwnRows; ++r) {
        visible |= static_cast<unsigned>(p.visible(b, query, row0 + r, kWindowed)) << r;
        r_score[r] = offset;
      }
      const bool dense = __all_sync(simt::kFullMask, visible == kAllVisible) != 0;
      for (int i = 0; i < p.layers; ++i) {
        tile.load({p.k[i] + head_keys, p.Dh}, keys, {p.q[i] + head_queries, p.Dh}, queries);
        tile.dot(r_dot);
        for (int r = 0; r < kOwnRows; ++r) {
          if (has(visible, r)) r_score[r] += p.coefficient(i, b, query, row0 + r) * r_dot[r];
        }
      }

      const A lse = query < p.T ? p.lse[head * p.T + query] : A(0);
      A r_p[kOwnRows];
      for (int r = 0; r < kOwnRows; ++r) {
        r_p[r] = has(visible, r) ? simt::exp(r_score[r] - lse) : A(0);
        s_p[lane * kOwnRows + r] = r_p[r];
      }
      tile.load({p.v + head_keys, p.Dh}, keys,
                {p.dcontext + (int64_t{b} * p.T + query0) * context_stride + int64_t{h} * p.Dh,
                 context_stride},
                queries);
      tile.add_weighted(r_dv, s_p, dense);

      if (p.dk == nullptr) continue;
      tile.dot(r_dot);
      const A delta = query < p.T ? p.delta[head * p.T + query] : A(0);
      for (int i = 0; i < p.layers; ++i) {
        A* s_weights = s_all + i % 2 * kAllWeights + warp * kWeights;
        for (int r = 0; r < kOwnRows; ++r) {
          s_weights[lane * kOwnRows + r] =
              has(visible, r) ? p.coefficient(i, b, query, row0 + r) * (r_p[r] * (r_dot[r] - delta))
                              : A(0);
        }
        tile.load({nullptr, 0}, 0, {p.q[i] + head_queries, p.Dh}, queries);
        A r_dk[kColumnGroups][kOwnRows] = {};
        tile.add_weighted(r_dk, s_weights, dense);
        store<true>(p.dk[i] + head_keys, r_dk, keys, p.Dh);
      }
    }
  }
  store<false>(p.dv + head_keys, r_dv, keys, p.Dh);
}

// dc[i] += sum of the parts of layer i: one warp each.
template <class A>
__global__ void coefficient_kernel(A* __restrict__ dc, const A* __restrict__ parts, int64_t count) {
  const int lane = static_cast<int>(threadIdx.x);
  const A* layer_parts = parts + blockIdx.x * count;
  A sum = A(0);
  for (int64_t n = lane; n < count; n += 32) sum += layer_parts[n];
  sum = simt::warp_sum(sum);
  if (lane == 0) dc[blockIdx.x] += sum;
}

// Checks every operand and turns them into the kernel parameter.
template <class S>
Params<S> params_of(View<accum_t<S>, 4> dv, const ScoreGradients<accum_t<S>>& gradients,
                    const AttentionBackwardArguments<S>& arguments) {
  const char* kernel = "attention_backward_tiled";
  Params<S> params;
  static_cast<BackwardParams<S>&>(params) = backward_params(kernel, arguments);
  const int64_t layers = arguments.scores.layers, H = arguments.scores.H;
  const auto [B, T] = arguments.scores.padding_mask.shape;
  expect_shape(kernel, "dv [B,Hkv,T,Dh]", dv, {B, arguments.scores.Hkv, T, arguments.scores.Dh});
  params.dv = dv.data;
  params.dq = gradients.dq;
  params.dk = gradients.dk;
  params.parts = nullptr;
  if (gradients.dcoefficients.data != nullptr) {
    expect_shape(kernel, "dcoefficients [layers]", gradients.dcoefficients, {layers});
    expect_shape(kernel, "coefficient_parts [layers,B,H,parts]", gradients.coefficient_parts,
                 {layers, B, H, coefficient_parts(T)});
    params.parts = gradients.coefficient_parts.data;
  }
  return params;
}

}  // namespace

template <class S>
void attention_backward_tiled(View<accum_t<S>, 4> dv, const ScoreGradients<accum_t<S>>& gradients,
                              const AttentionBackwardArguments<S>& arguments, Stream stream) {
  using A = accum_t<S>;
  const Params<S> p = params_of(dv, gradients, arguments);
  const auto [B, Hkv, T, Dh] = dv.shape;
  const unsigned tiles = blocks_for(T, kSide), batch = static_cast<unsigned>(B);
  const auto heads = static_cast<unsigned>(p.H), key_heads = static_cast<unsigned>(Hkv);
  if (p.dq != nullptr || p.parts != nullptr) {
    simt::launch(LaunchName("attention_backward_tiled queries", arguments.v.shape).text,
                 query_gradient_kernel<S>, dim3(tiles, heads, batch), dim3(kTileThreads),
                 tile_smem<S>(Dh).template add<A>(2 * kAllWeights).bytes, stream, p);
  }
  const bool windowed = p.window.width < T || p.window.sizes != nullptr;
  const auto keys_kernel = windowed ? key_gradient_kernel<S, true> : key_gradient_kernel<S, false>;
  simt::launch(LaunchName("attention_backward_tiled keys", arguments.v.shape).text, keys_kernel,
               dim3(tiles, key_heads, batch), dim3(kTileThreads),
               tile_smem<S>(Dh).template add<A>(kAllWeights).template add<A>(2 * kAllWeights).bytes,
               stream, p);
  if (p.parts != nullptr) {
    simt::launch(LaunchName("attention_backward_tiled coefficients", arguments.v.shape).text,
                 coefficient_kernel<A>, dim3(static_cast<unsigned>(p.layers)), dim3(32), 0, stream,
                 gradients.dcoefficients.data, p.parts, B * p.H * coefficient_parts(T));
  }
}

#define ASSAY_INSTANTIATE(S)                                                   \
  template void attention_backward_tiled<S>(View<accum_t<S>, 4>,               \
                                            const ScoreGradients<accum_t<S>>&, \
                                            const AttentionBackwardArguments<S>&, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
