// attention_mma: attention.cu on tensor cores, forward and replay. For query t of head h,
// with g = floor(h / (H/Hkv)):
//   scores[t,s] = sum_{i<layers} c_i(b) (q_i[t] . k_i[s]) + offset[t],
//                 s visible iff s <= t, padding_mask[b,s] and, with a window,
//                 t - window < s or s < sinks
//   forward   lse[t] = log sum_{visible s} exp(scores[t,s])
//             context[t] = sum_{visible s} S(exp(scores[t,s] - m)) v_g[s] / exp(lse[t] - m),
//             m the highest score so far, with which the sums are rescaled as it grows
//   replay    context[t] = sum_{visible s} S(exp(scores[t,s] - lse[t])) v_g[s], times the weight of
//             its term; of several layers at once with the arrays of ReplayLayout
//
//   q_i              [B,H,T,Dh], k_i, v [B,Hkv,R,Dh]  stored as S (bf16, f16), by
//                    device tables of pointers
//   padding_mask     [B,R]       0 = padding
//   position_offset  [B]         the position of query 0: t above is position_offset + its row.
//                                Null: 0, and R = T
//   ring                         where in the R rows of k, v and padding_mask a key's position is
//   blocks                       or in which blocks: k, v [blocks,Hkv,blocks.rows,Dh]
//   lse              [B,H,T]     float; -inf for a row without a visible key, whose context is 0
//   context          [B,T,H*Dh]  stored as S, heads concatenated
// Rounding: scores, their exponentials and all sums are float, as in attention.cu; but every
// exponential is rounded to S where it meets its value (not where lse sums it), and the context to
// S by the final store. So a context may be off by the unit roundoff of S, in f16 also by 2^-25 of
// the largest exponential, for each term: bf16 keeps two to three digits. Padded keys are left out
// by selection; the value of a later key, or of one before the window, is multiplied by 0, so it
// must be finite.
// Launch: one block of 4 warps per 64 queries of one head, a warp per 16; keys in tiles of 64 that
// one of them may see. Any B, T, layers >= 1, Hkv dividing H, Dh in {16, 32, 64, 128}.
// Registers 128 or 131, 148 or 152, 178 or 186, 220 or 226 by Dh, no spills; shared memory 8704,
// 15104, 27904, 53504 bytes; two blocks per SM or more. (nvcc 13.0, sm_90; its time on a GPU is not
// measured.)
// Longest addition chain: scores Dh + layers; lse 16 ceil(T/64) + 2; context T, rescaled ceil(T/64)
// times; a tensor core adds in an order of its own (simt/mma.h).
// CPU counterpart: reference/ops/{scores,mask,softmax,attend}.cpp
#include "cuda_impl/kernels/attention/attention_variants.h"
#include "cuda_impl/kernels/tiles/mma_tile.h"
#include "cuda_impl/kernels/tiles/score_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

simt::SmemSize attention_mma_smem(int Dh) {
  return simt::SmemSize{}
      .add<uint32_t>(row_words(kMmaRows, Dh))
      .add<uint32_t>(row_words(kBlockKeys, Dh))
      .add<uint32_t>(turned_words(kBlockKeys, Dh))
      .add<int>(kBlockKeys);
}

// Over the 4 lanes that hold one row of a fragment d; the same in each.
SIMT_DEVICE float quad_max(float value) {
  value = simt::max(value, __shfl_xor_sync(simt::kFullMask, value, 1));
  return simt::max(value, __shfl_xor_sync(simt::kFullMask, value, 2));
}
SIMT_DEVICE float quad_sum(float value) {
  value += __shfl_xor_sync(simt::kFullMask, value, 1);
  return value + __shfl_xor_sync(simt::kFullMask, value, 2);
}

// r_score[j] += coefficient * (the warp's queries . keys 8j ..)
template <class S, int kDh>
SIMT_DEVICE void add_scores(MmaD (&r_score)[kKeyTiles], const uint32_t* s_queries,
                            const uint32_t* s_keys, float coefficient, int lane) {
  MmaD r_product[kKeyTiles] = {};
  add_products<S, kDh>(r_product, s_queries, s_keys, lane);
  SIMT_UNROLL for (int j = 0; j < kKeyTiles; ++j) {
    SIMT_UNROLL for (int i = 0; i < 4; ++i) {
      r_score[j].value[i] += coefficient * r_product[j].value[i];
    }
  }
}

// What a lane keeps of its rows of the warp's 16: first row lane/4, second 8 further.
struct Rows {
  float highest[2];  // replay: the given lse
  float sum[2];
  unsigned seen;  // bit r: this lane had a visible key for row r
};

// The highest score rises to that of this step; the sums so far follow.
template <int kDh>
SIMT_DEVICE void raise(Rows& rows, MmaD (&r_context)[kDh / 8], const MmaD (&r_score)[kKeyTiles],
                       unsigned visible) {
  SIMT_UNROLL for (int r = 0; r < 2; ++r) {
    float highest = rows.highest[r];
    SIMT_UNROLL for (int j = 0; j < kKeyTiles; ++j) {
      SIMT_UNROLL for (int i = 2 * r; i < 2 * r + 2; ++i) {
        const float score = r_score[j].value[i];
        if (visible >> (4 * j + i) & 1u) {
          highest = simt::max(highest, score);
          rows.seen |= 1u << r;
        }
      }
    }
    highest = quad_max(highest);
    const float rescale = simt::exp(rows.highest[r] - highest);
    rows.highest[r] = highest;
    rows.sum[r] *= rescale;
    SIMT_UNROLL for (int c = 0; c < kDh / 8; ++c) {
      SIMT_UNROLL for (int i = 2 * r; i < 2 * r + 2; ++i) r_context[c].value[i] *= rescale;
    }
  }
}

// g_lse is read in a replay and written otherwise. in_pairs: two neighbours of g_context may be
// stored at once.
template <class S, int kDh, bool kReplay>
__global__ void __launch_bounds__(kMmaThreads, 2)
    attention_mma_kernel(S* __restrict__ g_context, float* g_lse, const S* __restrict__ g_v,
                         ScoreParams<S> p, ReplayParams<float> replay, bool in_pairs) {
  simt::Smem smem;
  auto* s_queries = smem.take<uint32_t>(row_words(kMmaRows, kDh));      // [query][d]
  auto* s_keys = smem.take<uint32_t>(row_words(kBlockKeys, kDh));       // [key][d]
  auto* s_values = smem.take<uint32_t>(turned_words(kBlockKeys, kDh));  // [d][key]
  int* s_padding_mask = smem.take<int>(kBlockKeys);                     // [key]
  const int tid = static_cast<int>(threadIdx.x), lane = tid % 32, warp = tid / 32;
  const int h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z) % replay.B;
  const int replayed = static_cast<int>(blockIdx.z) / replay.B;  // which replay
  p.q += replayed;
  p.k += replayed;
  const int query0 = static_cast<int>(blockIdx.x) * kMmaRows;
  const int row0 = query0 + 16 * warp;  // the warp's first query
  const bool is_used = row0 < p.T;      // the same for the whole warp
  const int64_t query_head = int64_t{b} * p.H + h;
  g_lse += replayed * replay.lse + query_head * p.T;
  g_v += replayed * replay.v + int64_t{h / (p.H / p.Hkv)} * p.rows * kDh;

  MmaD r_context[kDh / 8] = {};
  float r_offset[2] = {};
  Rows rows = {{kLowest<float>, kLowest<float>}, {}, 0};
  const int position_offset = p.position_offset(b);
  SIMT_UNROLL for (int r = 0; r < 2; ++r) {
    const int row = row0 + simt::mma_d_place(lane, 2 * r).row;
    if (row >= p.T) continue;
    if (kReplay) rows.highest[r] = g_lse[row];
    if (p.offset != nullptr && position_offset + row < p.positions)
      r_offset[r] = p.offset[position_offset + row];
  }

  // Causal: no later key is read.
  const int end = p.key_end(position_offset, query0 + kMmaRows);
  const Window window = p.window.of_row(b, position_offset, p.T);
  const Window tiles = window.of_tile(position_offset + query0, kMmaRows);
  const int start = tiles.next_tile(0, position_offset + query0, kBlockKeys);
  for (int key0 = start; key0 < end;
       key0 = tiles.next_tile(key0 + kBlockKeys, position_offset + query0, kBlockKeys)) {
    __syncthreads();  // every thread has read the key and value tiles before
    const uint8_t* g_padding_mask = p.padding_mask + int64_t{b} * p.R + p.ring.row_of(key0);
    const auto value_of = [&](int n) { return g_v + p.key_at(b, key0, n, replay.v_batch); };
    load_turned_of<kDh, kBlockKeys, S>(s_values, value_of, g_padding_mask, end - key0);
    if (tid < kBlockKeys) s_padding_mask[tid] = key0 + tid < end && g_padding_mask[tid] != 0;

    MmaD r_score[kKeyTiles];
    SIMT_UNROLL for (int j = 0; j < kKeyTiles; ++j) {
      SIMT_UNROLL for (int i = 0; i < 4; ++i) r_score[j].value[i] = r_offset[i / 2];
    }
    for (int layer = 0; layer < p.layers; ++layer) {
      if (layer > 0) __syncthreads();  // every thread has read the layer before
      if (p.layers > 1 || key0 == start) {
        load_rows<kDh>(s_queries, kMmaRows, p.q[layer] + (query_head * p.T + query0) * kDh, kDh,
                       p.T - query0);
      }
      const S* g_k = p.k_of(layer, h);
      const auto key_of = [&](int n) { return g_k + p.key_at(b, key0, n, p.k_block()); };
      load_rows_of<kDh, S>(s_keys, kBlockKeys, key_of, end - key0);
      __syncthreads();  // the layer's tiles, the values and s_padding_mask are complete
      if (!is_used) continue;
      const Coefficients<float>& c = p.coefficients;
      add_scores<S, kDh>(r_score, s_queries + 16 * warp * row_stride(kDh), s_keys,
                         c.data[layer * c.layer + b * c.batch], lane);
    }
    if (!is_used) continue;

    const unsigned visible =
        visible_keys<kKeyTiles>(s_padding_mask, window, key0, position_offset + row0, lane);
    if constexpr (!kReplay) raise<kDh>(rows, r_context, r_score, visible);
    SIMT_UNROLL for (int j = 0; j < kKeyTiles; ++j) {
      SIMT_UNROLL for (int i = 0; i < 4; ++i) {
        float& value = r_score[j].value[i];
        value = visible >> (4 * j + i) & 1u ? simt::exp(value - rows.highest[i / 2]) : 0.0f;
        rows.sum[i / 2] += value;
      }
    }
    add_weighted<S, kDh>(r_context, r_score, s_values, lane);
  }
  if (!is_used) return;

  g_context += replayed * replay.context + int64_t{h} * kDh;
  SIMT_UNROLL for (int r = 0; r < 2; ++r) {
    const simt::MmaPlace at = simt::mma_d_place(lane, 2 * r);
    const int row = row0 + at.row;
    bool any = true;
    float total = 1;
    if constexpr (!kReplay) {
      unsigned seen = rows.seen >> r & 1u;
      seen |= __shfl_xor_sync(simt::kFullMask, seen, 1);
      any = (seen | __shfl_xor_sync(simt::kFullMask, seen, 2)) != 0;
      total = quad_sum(rows.sum[r]);
      if (at.column == 0 && row < p.T) {
        g_lse[row] = any ? rows.highest[r] + simt::log(total) : -kInfinity<float>;
      }
    }
    if (row >= p.T) continue;
    S* g_row = g_context + (int64_t{b} * p.T + row) * replay.context_row + at.column;
    const auto rounded = [&](float sum) {
      const float value = kReplay ? sum * replay.terms.of(replayed) : sum / total;
      return S(any ? value : 0.0f);
    };
    store_row<kDh>(g_row, r, r_context, in_pairs, rounded);
  }
}

template <class S, bool kReplay>
void launch_attention_mma(const char* kernel, const View<S, 3>& context,
                          const View<const float, 3>& lse, float* lse_out,
                          const ScoreOperands<S>& scores, const In<S, 4>& v,
                          const ReplayLayout<float>& layout, Stream stream) {
  const int64_t B = scores.padding_mask.shape[0];
  const int64_t T = context.shape[1];
  const ScoreParams<S> params = score_params(kernel, scores, T);
  expect_shape(kernel, "context [B,T,H*Dh]", context, {B, T, scores.H * scores.Dh});
  expect_shape(kernel, "lse [B,H,T]", lse, {B, scores.H, T});
  expect_values(kernel, v, scores);
  const auto& c = scores.coefficients;
  if (c.query != 0 || c.key != 0) {
    throw simt::Error(std::string(kernel) +
                      ": coefficients: expected strides query = key = 0, got " +
                      std::to_string(c.query) + " and " + std::to_string(c.key));
  }
  void (*entry)(S*, float*, const S*, ScoreParams<S>, ReplayParams<float>, bool) = nullptr;
  if (scores.Dh == 16) entry = attention_mma_kernel<S, 16, kReplay>;
  if (scores.Dh == 32) entry = attention_mma_kernel<S, 32, kReplay>;
  if (scores.Dh == 64) entry = attention_mma_kernel<S, 64, kReplay>;
  if (scores.Dh == 128) entry = attention_mma_kernel<S, 128, kReplay>;
  if (entry == nullptr) {
    throw simt::Error(std::string(kernel) + ": Dh: expected 16, 32, 64 or 128, got " +
                      std::to_string(scores.Dh));
  }
  simt::launch(LaunchName(kernel, context.shape).text, entry,
               dim3(blocks_for(T, kMmaRows), static_cast<unsigned>(scores.H),
                    static_cast<unsigned>(layout.count * B)),
               dim3(kMmaThreads), attention_mma_smem(params.Dh).bytes, stream, context.data,
               lse_out, v.data, params, replay_params(kernel, scores, layout),
               in_pairs_of(context, layout));
}

}  // namespace

template <class S>
void attention_mma(View<S, 3> context, View<float, 3> lse, const ScoreOperands<S>& scores,
                   In<S, 4> v, Stream stream) {
  launch_attention_mma<S, false>("attention_mma", context, lse, lse.data, scores, v, {}, stream);
}

template <class S>
void replay_attention_mma(View<S, 3> context, In<float, 3> lse, const ScoreOperands<S>& scores,
                          In<S, 4> v, Stream stream, const ReplayLayout<float>& layout) {
  // Read only: the kernel's template writes lse in the other mode alone.
  launch_attention_mma<S, true>("replay_attention_mma", context, lse, const_cast<float*>(lse.data),
                                scores, v, layout, stream);
}

#define ASSAY_INSTANTIATE(S)                                                                      \
  template void attention_mma(View<S, 3>, View<float, 3>, const ScoreOperands<S>&, In<S, 4>,      \
                              Stream);                                                            \
  template void replay_attention_mma(View<S, 3>, In<float, 3>, const ScoreOperands<S>&, In<S, 4>, \
                                     Stream, const ReplayLayout<float>&);
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
