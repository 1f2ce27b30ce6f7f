// attention_backward_mma: attention_backward.cu on tensor cores, for scores of one layer,
//   P[t,s] = exp(c(b) (q[t] . k[s]) - lse[t])
// of head h, key head g = floor(h / (H/Hkv)); s is visible to t as in attention_mma.cu:
//   dv[s]   = sum_{h of g} sum_t S(P[t,s]) dcontext[t]
//   dS[t,s] = P[t,s] * (dcontext[t] . v[s] - delta[t])
//   dq[t]  += c(b) sum_s S(dS[t,s]) k[s]
//   dk[s]  += c(b) sum_{h of g} sum_t S(dS[t,s]) q[t]
//
//   q [B,H,T,Dh], k, v [B,Hkv,T,Dh]  stored as S (bf16, f16); q and k by device tables of one
//   dcontext [B,T,H*Dh]              stored as S
//   padding_mask [B,T]               0 = padding
//   lse, delta [B,H,T]               float; from attention, attention_delta.cu
//   c        by its stride of b      float
//   dq, dk (as q, k), dv             float; dq and dk are left out where the caller wants none
// Rounding: scores, dcontext . v, P, dS and all sums are float; it rounds P and dS to S where they
// enter a product, once each. So a gradient may be off by the unit roundoff of S, in f16 also by
// 2^-25 (of a P or dS), for each term; |dS| must stay below the largest S. Padded keys are left out
// by selection; P and dS of a pair that is hidden by order or window are 0 and are multiplied, so
// what they meet must be finite.
// Launch: one block of 4 warps per 64 queries of a head for dq, a warp per 16, keys in tiles of 32;
// one per 64 keys of a key head for dk and dv, which walks the query heads that share it and their
// queries in tiles of 32. Tiles of which the block sees nothing are skipped. No atomics. Any B, T,
// Hkv dividing H, Dh in {16, 32, 64, 128}.
// Registers by Dh 115, 108, 132, 176 for queries and 90, 118, 159, 228 for keys, no spills; shared
// memory 10624, 18048, 32896, 62592 and 12032, 20736, 38144, 72960 bytes; two blocks per SM or
// more. (nvcc 13.0, sm_90; its time on a GPU is not measured.)
// Longest addition chain: scores and dcontext . v Dh; dq T + 1, dk T*H/Hkv + 1, dv T*H/Hkv; a
// tensor core adds in an order of its own (simt/mma.h).
// CPU counterpart: reference/ops/{attend,softmax,scores,weighted_sum}.cpp
#include "cuda_impl/kernels/attention/attention_backward_arguments.h"
#include "cuda_impl/kernels/attention/attention_backward_variants.h"
#include "cuda_impl/kernels/tiles/mma_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kStep = 32;  // keys, or queries, that a block takes at a time
constexpr int kStepTiles = kStep / 8;

// Of both kernels: two tiles of rows, two of columns, one of them turned.
simt::SmemSize pair_smem(int Dh) {
  return simt::SmemSize{}
      .add<uint32_t>(row_words(kMmaRows, Dh))
      .add<uint32_t>(row_words(kMmaRows, Dh))
      .add<uint32_t>(row_words(kStep, Dh))
      .add<uint32_t>(row_words(kStep, Dh))
      .add<uint32_t>(turned_words(kStep, Dh));
}
simt::SmemSize query_smem(int Dh) { return pair_smem(Dh).add<int>(kStep); }
simt::SmemSize key_smem(int Dh) {
  return pair_smem(Dh).add<uint32_t>(turned_words(kStep, Dh)).add<float>(kStep).add<float>(kStep);
}

// g_out[row0 + ..][d] = scale * r_sum (+ what it holds if kAdd), for the warp's rows before T.
template <bool kAdd, int kDh>
SIMT_DEVICE void store(float* g_out, const MmaD (&r_sum)[kDh / 8], float scale, int row0, int T,
                       int lane) {
  SIMT_UNROLL for (int i = 0; i < 4; ++i) {
    const simt::MmaPlace at = simt::mma_d_place(lane, i);
    if (row0 + at.row >= T) continue;
    float* g_row = g_out + int64_t{row0 + at.row} * kDh + at.column;
    SIMT_UNROLL for (int c = 0; c < kDh / 8; ++c) {
      const float value = scale * r_sum[c].value[i];
      g_row[8 * c] = kAdd ? g_row[8 * c] + value : value;
    }
  }
}

// dq of 64 queries. Rows are queries, columns are keys.
template <class S, int kDh>
__global__ void __launch_bounds__(kMmaThreads, 2)
    query_gradient_mma_kernel(float* const* __restrict__ g_dq, BackwardParams<S> p) {
  simt::Smem smem;
  auto* s_queries = smem.take<uint32_t>(row_words(kMmaRows, kDh));      // [query][d]
  auto* s_dcontext = smem.take<uint32_t>(row_words(kMmaRows, kDh));     // [query][d]
  auto* s_keys = smem.take<uint32_t>(row_words(kStep, kDh));            // [key][d]
  auto* s_values = smem.take<uint32_t>(row_words(kStep, kDh));          // [key][d]
  auto* s_turned_keys = smem.take<uint32_t>(turned_words(kStep, kDh));  // [d][key]
  int* s_padding_mask = smem.take<int>(kStep);                          // [key]
  const int tid = static_cast<int>(threadIdx.x), lane = tid % 32, warp = tid / 32;
  const int h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const int query0 = static_cast<int>(blockIdx.x) * kMmaRows;
  const int own = 16 * warp * row_stride(kDh), row0 = query0 + 16 * warp;  // the warp's first query
  const int64_t head = int64_t{b} * p.H + h, key_head = int64_t{b} * p.Hkv + h / (p.H / p.Hkv);
  const int64_t context_stride = int64_t{p.H} * kDh;
  const float coefficient = p.coefficient(0, b, 0, 0);

  load_rows<kDh>(s_queries, kMmaRows, p.q[0] + (head * p.T + query0) * kDh, kDh, p.T - query0);
  load_rows<kDh>(s_dcontext, kMmaRows,
                 p.dcontext + (int64_t{b} * p.T + query0) * context_stride + int64_t{h} * kDh,
                 context_stride, p.T - query0);
  float r_lse[2] = {}, r_delta[2] = {};
  SIMT_UNROLL for (int r = 0; r < 2; ++r) {
    const int row = row0 + simt::mma_d_place(lane, 2 * r).row;
    if (row >= p.T) continue;
    r_lse[r] = p.lse[head * p.T + row];
    r_delta[r] = p.delta[head * p.T + row];
  }

  MmaD r_dq[kDh / 8] = {};
  const int end =
      query0 + kMmaRows < p.T ? query0 + kMmaRows : p.T;  // causal: no later key is read
  const Window window = p.window.of_row(b, 0, p.T), tiles = window.of_tile(query0, kMmaRows);
  for (int key0 = tiles.next_tile(0, query0, kStep); key0 < end;
       key0 = tiles.next_tile(key0 + kStep, query0, kStep)) {
    __syncthreads();  // every thread has read the keys and values before
    const int64_t first = (key_head * p.T + key0) * kDh;
    const uint8_t* g_padding_mask = p.padding_mask + int64_t{b} * p.T + key0;
    load_rows<kDh>(s_keys, kStep, p.k[0] + first, kDh, end - key0);
    load_turned<kDh, kStep>(s_turned_keys, p.k[0] + first, kDh, g_padding_mask, end - key0);
    load_rows<kDh>(s_values, kStep, p.v + first, kDh, end - key0);
    if (tid < kStep) s_padding_mask[tid] = key0 + tid < end && g_padding_mask[tid] != 0;
    // The keys, the values, s_padding_mask and, at first, the queries are complete.
    __syncthreads();
    if (row0 >= p.T || key0 >= row0 + 16) continue;  // the whole warp: it sees none of these keys

    MmaD r_score[kStepTiles] = {}, r_ds[kStepTiles] = {};  // r_ds: dcontext . v first
    add_products<S, kDh>(r_score, s_queries + own, s_keys, lane);
    add_products<S, kDh>(r_ds, s_dcontext + own, s_values, lane);
    const unsigned visible = visible_keys<kStepTiles>(s_padding_mask, window, key0, row0, lane);
    SIMT_UNROLL for (int j = 0; j < kStepTiles; ++j) {
      SIMT_UNROLL for (int i = 0; i < 4; ++i) {
        float& value = r_ds[j].value[i];
        const float exponent = coefficient * r_score[j].value[i] - r_lse[i / 2];
        value = has(visible, 4 * j + i) ? simt::exp(exponent) * (value - r_delta[i / 2]) : 0.0f;
      }
    }
    add_weighted<S, kDh>(r_dq, r_ds, s_turned_keys, lane);
  }
  store<true, kDh>(g_dq[0] + head * p.T * kDh, r_dq, coefficient, row0, p.T, lane);
}

// The other way round than visible_keys: rows are keys from key0 on, r_is_real of the lane's two,
// columns are queries from query0 on.
SIMT_DEVICE unsigned visible_queries(const bool (&r_is_real)[2], const Window& window, int query0,
                                     int T, int key0, int lane) {
  unsigned visible = 0;
  SIMT_UNROLL for (int j = 0; j < kStepTiles; ++j) {
    SIMT_UNROLL for (int i = 0; i < 4; ++i) {
      const simt::MmaPlace at = simt::mma_d_place(lane, i);
      const int t = query0 + 8 * j + at.column;
      const bool is_visible = r_is_real[i / 2] && t < T && window.sees(t, key0 + at.row);
      visible |= static_cast<unsigned>(is_visible) << (4 * j + i);
    }
  }
  return visible;
}

// dv, and dk unless g_dk is null, of 64 keys. Rows are keys, columns are queries.
template <class S, int kDh>
__global__ void __launch_bounds__(kMmaThreads, 2)
    key_gradient_mma_kernel(float* __restrict__ g_dv, float* const* __restrict__ g_dk,
                            BackwardParams<S> p) {
  simt::Smem smem;
  auto* s_keys = smem.take<uint32_t>(row_words(kMmaRows, kDh));             // [key][d]
  auto* s_values = smem.take<uint32_t>(row_words(kMmaRows, kDh));           // [key][d]
  auto* s_queries = smem.take<uint32_t>(row_words(kStep, kDh));             // [query][d]
  auto* s_dcontext = smem.take<uint32_t>(row_words(kStep, kDh));            // [query][d]
  auto* s_turned_queries = smem.take<uint32_t>(turned_words(kStep, kDh));   // [d][query]
  auto* s_turned_dcontext = smem.take<uint32_t>(turned_words(kStep, kDh));  // [d][query]
  float* s_lse = smem.take<float>(kStep);                                   // [query]
  float* s_delta = smem.take<float>(kStep);                                 // [query]
  const int tid = static_cast<int>(threadIdx.x), lane = tid % 32, warp = tid / 32;
  const int group = p.H / p.Hkv, g = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z);
  const int key0 = static_cast<int>(blockIdx.x) * kMmaRows;
  const int own = 16 * warp * row_stride(kDh), row0 = key0 + 16 * warp;  // the warp's first key
  const int64_t key_head = int64_t{b} * p.Hkv + g, context_stride = int64_t{p.H} * kDh;
  const float coefficient = p.coefficient(0, b, 0, 0);

  const int64_t first = (key_head * p.T + key0) * kDh;
  load_rows<kDh>(s_keys, kMmaRows, p.k[0] + first, kDh, p.T - key0);
  load_rows<kDh>(s_values, kMmaRows, p.v + first, kDh, p.T - key0);
  bool r_is_real[2];
  SIMT_UNROLL for (int r = 0; r < 2; ++r) {
    const int row = row0 + simt::mma_d_place(lane, 2 * r).row;
    r_is_real[r] = row < p.T && p.padding_mask[int64_t{b} * p.T + row] != 0;
  }

  MmaD r_dv[kDh / 8] = {}, r_dk[kDh / 8] = {};
  // Causal: no earlier query sees a key; with a window, nor does one past query_end.
  const Window window = p.window.of_row(b, 0, p.T);
  const int end = window.query_end(key0, kMmaRows, p.T);
  for (int h = g * group; h < (g + 1) * group; ++h) {
    const int64_t head = int64_t{b} * p.H + h;
    for (int query0 = key0; query0 < end; query0 += kStep) {
      __syncthreads();  // every thread has read the queries before
      const S* g_queries = p.q[0] + (head * p.T + query0) * kDh;
      const S* g_dcontext =
          p.dcontext + (int64_t{b} * p.T + query0) * context_stride + int64_t{h} * kDh;
      const int queries = p.T - query0;
      load_rows<kDh>(s_queries, kStep, g_queries, kDh, queries);
      load_turned<kDh, kStep>(s_turned_dcontext, g_dcontext, context_stride, nullptr, queries);
      if (tid < kStep) s_lse[tid] = tid < queries ? p.lse[head * p.T + query0 + tid] : 0.0f;
      if (g_dk != nullptr) {
        load_rows<kDh>(s_dcontext, kStep, g_dcontext, context_stride, queries);
        load_turned<kDh, kStep>(s_turned_queries, g_queries, kDh, nullptr, queries);
        if (tid < kStep) s_delta[tid] = tid < queries ? p.delta[head * p.T + query0 + tid] : 0.0f;
      }
      __syncthreads();  // the queries, s_lse, s_delta and, at first, the keys are complete
      if (row0 >= p.T || query0 + kStep <= row0) continue;  // the whole warp: none of these sees it

      MmaD r_p[kStepTiles] = {};  // the scores first
      add_products<S, kDh>(r_p, s_keys + own, s_queries, lane);
      const unsigned visible = visible_queries(r_is_real, window, query0, p.T, row0, lane);
      SIMT_UNROLL for (int j = 0; j < kStepTiles; ++j) {
        SIMT_UNROLL for (int i = 0; i < 4; ++i) {
          float& value = r_p[j].value[i];
          const float lse = s_lse[8 * j + simt::mma_d_place(lane, i).column];
          value = has(visible, 4 * j + i) ? simt::exp(coefficient * value - lse) : 0.0f;
        }
      }
      add_weighted<S, kDh>(r_dv, r_p, s_turned_dcontext, lane);

      if (g_dk == nullptr) continue;
      MmaD r_ds[kStepTiles] = {};  // v . dcontext first
      add_products<S, kDh>(r_ds, s_values + own, s_dcontext, lane);
      SIMT_UNROLL for (int j = 0; j < kStepTiles; ++j) {
        SIMT_UNROLL for (int i = 0; i < 4; ++i) {
          float& value = r_ds[j].value[i];
          const float delta = s_delta[8 * j + simt::mma_d_place(lane, i).column];
          value = has(visible, 4 * j + i) ? r_p[j].value[i] * (value - delta) : 0.0f;
        }
      }
      add_weighted<S, kDh>(r_dk, r_ds, s_turned_queries, lane);
    }
  }
  const int64_t head_keys = key_head * p.T * kDh;
  store<false, kDh>(g_dv + head_keys, r_dv, 1.0f, row0, p.T, lane);
  if (g_dk != nullptr) store<true, kDh>(g_dk[0] + head_keys, r_dk, coefficient, row0, p.T, lane);
}

template <class S, int kDh>
void launch_kernels(View<float, 4> dv, const ScoreGradients<float>& gradients,
                    const BackwardParams<S>& p, Stream stream) {
  const unsigned tiles = blocks_for(p.T, kMmaRows), batch = static_cast<unsigned>(p.B);
  if (gradients.dq != nullptr) {
    simt::launch(LaunchName("attention_backward_mma queries", dv.shape).text,
                 query_gradient_mma_kernel<S, kDh>, dim3(tiles, static_cast<unsigned>(p.H), batch),
                 dim3(kMmaThreads), query_smem(kDh).bytes, stream, gradients.dq, p);
  }
  simt::launch(LaunchName("attention_backward_mma keys", dv.shape).text,
               key_gradient_mma_kernel<S, kDh>, dim3(tiles, static_cast<unsigned>(p.Hkv), batch),
               dim3(kMmaThreads), key_smem(kDh).bytes, stream, dv.data, gradients.dk, p);
}

}  // namespace

template <class S>
void attention_backward_mma(View<float, 4> dv, const ScoreGradients<float>& gradients,
                            const AttentionBackwardArguments<S>& arguments, Stream stream) {
  const char* kernel = "attention_backward_mma";
  const BackwardParams<S> p = backward_params(kernel, arguments);
  const auto [B, T] = arguments.scores.padding_mask.shape;
  expect_shape(kernel, "dv [B,Hkv,T,Dh]", dv, {B, arguments.scores.Hkv, T, arguments.scores.Dh});
  if (!has_attention_backward_mma(arguments.scores, gradients)) {
    throw simt::Error(std::string(kernel) +
                      ": scores: expected one layer of head size 16, 32, 64 or 128, no offset, a "
                      "coefficient by neither query nor key and no gradient with respect to it");
  }
  if (p.Dh == 16) return launch_kernels<S, 16>(dv, gradients, p, stream);
  if (p.Dh == 32) return launch_kernels<S, 32>(dv, gradients, p, stream);
  if (p.Dh == 64) return launch_kernels<S, 64>(dv, gradients, p, stream);
  launch_kernels<S, 128>(dv, gradients, p, stream);
}

#define ASSAY_INSTANTIATE(S)                                                         \
  template void attention_backward_mma(View<float, 4>, const ScoreGradients<float>&, \
                                       const AttentionBackwardArguments<S>&, Stream);
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
