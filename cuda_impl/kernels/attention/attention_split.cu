// attention_split: attention.cu for the few queries of a step of decoding: a block for each part of
// a query's keys instead of one for all of them, and a second kernel that adds the parts up.
//   part   m_p = max, sum_p = sum exp(score - m_p), context_p = sum exp(score - m_p) v_g[s]
//          over the visible keys of part p
//   all    m = max m_p, sum = sum_p exp(m_p - m) sum_p, lse[t] = m + log sum
//          context[t] = sum_p exp(m_p - m) context_p / sum
// with scores, visible keys, arrays, ring and rounding of attention.cu.
//
//   partial  [B*H*T,parts,Dh+2]  accum_t<S>: context_p, m_p, sum_p; parts as attention_parts() says
// A part is `span` positions that begin at a multiple of it, so a row's bits depend on span and on
// nothing else: not on its neighbours, the chunk, or the size of the cache. They are others than
// those of attention_tiled: the order of sums differs.
// Within a part warp w takes the tiles of 32 keys w, w + 4, ..; lane s has the score of key s, and
// the columns lane, lane + 32, .. of the context.
// Launch: parts x H x B*T blocks of 4 warps, then one warp for each query and head. Any B, T, span
// a multiple of 32, layers >= 1, Hkv dividing H, Dh <= kMaxHeadSize, layers * Dh of a query in
// shared memory. Longest addition chain: scores Dh + layers; lse and context span/4 + 4 + parts,
// rescaled span/128 + 2 times.
// CPU counterpart: reference/ops/{scores,mask,softmax,attend}.cpp
#include "cuda_impl/kernels/attention/attention_variants.h"
#include "cuda_impl/kernels/tiles/score_tile.h"
#include "cuda_impl/kernels/tiles/value_tile.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

// Which parts a query's keys may be in: those of the sinks, and those of its window.
struct KeyParts {
  int span, of_sinks;

  SIMT_DEVICE int begin(int block, int position, int width) const {
    if (block < of_sinks) return block * span;
    const int oldest = position - width + 1;
    const int first = oldest <= 0 ? 0 : oldest / span;
    return ((first > of_sinks ? first : of_sinks) + block - of_sinks) * span;
  }
};

template <class S>
simt::SmemSize split_smem(int64_t layers, int64_t Dh) {
  using A = accum_t<S>;
  return simt::SmemSize{}
      .template add<A>(static_cast<std::size_t>(layers * Dh))
      .template add<A>(static_cast<std::size_t>(kWarps * (Dh + 2)));
}

// The score of the lane's key, without a look at whether it is visible.
template <class S>
SIMT_DEVICE accum_t<S> score_of(const ScoreParams<S>& p, const accum_t<S>* s_q, int b, int h,
                                int position, int key0, int n) {
  using A = accum_t<S>;
  const int64_t at = p.key_at(b, key0, n, p.k_block());
  A score = p.offset != nullptr ? p.offset[position] : A(0);
  const Coefficients<A>& c = p.coefficients;
  const A* g_c = c.data + p.coefficient_of_key(b, key0 + n) + p.coefficient_of_query(b, position);
  for (int layer = 0; layer < p.layers; ++layer) {
    const S* g_k = p.k_of(layer, h) + at;
    const A* s_row = s_q + layer * p.Dh;
    A product = A(0);
    for (int d = 0; d < p.Dh; ++d) product += s_row[d] * simt::to_accum(g_k[d]);
    score += g_c[layer * c.layer] * product;
  }
  return score;
}

template <class S>
__global__ void __launch_bounds__(kScoreThreads)
    attention_part_kernel(accum_t<S>* __restrict__ g_partial, const S* __restrict__ g_v,
                          ScoreParams<S> p, KeyParts parts) {
  using A = accum_t<S>;
  simt::Smem smem;
  A* s_q = smem.take<A>(std::size_t(p.layers) * p.Dh);            // [layers][Dh]
  A* s_partial = smem.take<A>(std::size_t(kWarps) * (p.Dh + 2));  // [kWarps][Dh+2]
  const int tid = static_cast<int>(threadIdx.x), lane = tid % 32, warp = tid / 32;
  const int h = static_cast<int>(blockIdx.y);
  const int b = static_cast<int>(blockIdx.z) / p.T, row = static_cast<int>(blockIdx.z) % p.T;
  const int position = p.position_offset(b) + row;
  const Window window = p.window.of_row(b, p.position_offset(b), p.T);
  const int begin = parts.begin(static_cast<int>(blockIdx.x), position, p.window.width);
  const int end = p.key_end(p.position_offset(b), row + 1);
  const int64_t query = (int64_t{b} * p.H + h) * p.T + row;
  const S* g_v_head = g_v + int64_t{h / (p.H / p.Hkv)} * p.rows * p.Dh;  // of block 0 [rows,Dh]
  for (int i = tid; i < p.layers * p.Dh; i += kScoreThreads) {
    s_q[i] = simt::to_accum(p.q[i / p.Dh][query * p.Dh + i % p.Dh]);
  }
  __syncthreads();  // s_q is complete

  A r_context[kMaxColumns] = {}, highest = kLowest<A>, sum = A(0);
  for (int key0 = begin + warp * kKeys; key0 < begin + parts.span && key0 < end;
       key0 += kWarps * kKeys) {
    const int key_row = p.ring.row_of(key0);
    const bool visible = position < p.positions && key0 + lane < end &&
                         window.sees(position, key0 + lane) &&
                         p.padding_mask[int64_t{b} * p.R + key_row + lane] != 0;
    const A score = visible ? score_of<S>(p, s_q, b, h, position, key0, lane) : kLowest<A>;
    const A raised = simt::max(highest, simt::warp_max(score));
    const A rescale = simt::exp(highest - raised);
    highest = raised;
    const A probability = visible ? simt::exp(score - highest) : A(0);
    sum = sum * rescale + probability;
    for (int c = 0; c < kMaxColumns; ++c) r_context[c] *= rescale;
    const unsigned seen = __ballot_sync(simt::kFullMask, visible ? 1 : 0);
    for (int s = 0; s < kKeys; ++s) {
      const A weight = __shfl_sync(simt::kFullMask, probability, s);
      if ((seen >> s & 1u) == 0) continue;  // the same for the whole warp
      const S* g_value = g_v_head + p.key_at(b, key0, s, p.k_block());
      SIMT_UNROLL for (int c = 0; c < kMaxColumns; ++c) {
        const int column = lane + 32 * c;
        if (column < p.Dh) r_context[c] += weight * simt::to_accum(g_value[column]);
      }
    }
  }
  const A total = simt::warp_sum(sum);
  A* s_own = s_partial + warp * (p.Dh + 2);
  for (int c = 0; c < kMaxColumns; ++c) {
    if (lane + 32 * c < p.Dh) s_own[lane + 32 * c] = r_context[c];
  }
  if (lane == 0) {
    s_own[p.Dh] = highest;
    s_own[p.Dh + 1] = total;
  }
  __syncthreads();  // every warp's share is there

  A m = kLowest<A>;
  for (int w = 0; w < kWarps; ++w) m = simt::max(m, s_partial[w * (p.Dh + 2) + p.Dh]);
  A* g_own = g_partial + (query * gridDim.x + blockIdx.x) * (p.Dh + 2);
  for (int i = tid; i < p.Dh + 2; i += kScoreThreads) {
    A value = A(0);
    for (int w = 0; w < kWarps; ++w) {
      const A* s_share = s_partial + w * (p.Dh + 2);
      value += simt::exp(s_share[p.Dh] - m) * s_share[i];
    }
    g_own[i] = i == p.Dh ? m : value;
  }
}

template <class S>
__global__ void attention_parts_kernel(S* __restrict__ g_context, accum_t<S>* __restrict__ g_lse,
                                       const accum_t<S>* __restrict__ g_partial, int parts, int H,
                                       int T, int Dh) {
  using A = accum_t<S>;
  const int64_t query = blockIdx.x;  // (b*H + h)*T + t
  const int lane = static_cast<int>(threadIdx.x);
  const A* g_own = g_partial + query * parts * (Dh + 2);  // [parts][Dh+2]
  A m = kLowest<A>;
  for (int i = 0; i < parts; ++i) m = simt::max(m, g_own[i * (Dh + 2) + Dh]);
  A total = A(0);
  for (int i = 0; i < parts; ++i) {
    const A* g_part = g_own + i * (Dh + 2);
    total += simt::exp(g_part[Dh] - m) * g_part[Dh + 1];
  }
  const bool any = total > A(0);
  if (lane == 0) g_lse[query] = any ? m + simt::log(total) : -kInfinity<A>;
  const int64_t head = query / T, t = query % T;
  S* g_row = g_context + ((head / H * T + t) * H + head % H) * Dh;  // [Dh]
  for (int column = lane; column < Dh; column += 32) {
    A value = A(0);
    for (int i = 0; i < parts; ++i) {
      const A* g_part = g_own + i * (Dh + 2);
      value += simt::exp(g_part[Dh] - m) * g_part[column];
    }
    g_row[column] = simt::from_accum<S>(any ? value / total : A(0));
  }
}

KeyParts parts_of(const Window& window, int64_t span) {
  return {.span = static_cast<int>(span),
          .of_sinks = (window.sinks + static_cast<int>(span) - 1) / static_cast<int>(span)};
}

}  // namespace

template <class S>
void attention_split(View<S, 3> context, View<accum_t<S>, 3> lse, View<accum_t<S>, 3> partial,
                     const ScoreOperands<S>& scores, In<S, 4> v, int64_t span, Stream stream) {
  const char* const kernel = "attention_split";
  const int64_t B = scores.padding_mask.shape[0];
  const int64_t T = context.shape[1], H = scores.H, Dh = scores.Dh;
  const ScoreParams<S> params = score_params(kernel, scores, T);
  if (span < kKeys || span % kKeys != 0) {
    throw simt::Error(std::string(kernel) + ": span: expected a multiple of " +
                      std::to_string(kKeys) + ", got " + std::to_string(span));
  }
  const int64_t parts = attention_parts(params.positions, scores.window, scores.sinks, span);
  expect_shape(kernel, "context [B,T,H*Dh]", context, {B, T, H * Dh});
  expect_shape(kernel, "lse [B,H,T]", lse, {B, H, T});
  expect_values(kernel, v, scores);
  expect_shape(kernel, "partial [B*H*T,parts,Dh+2]", partial, {B * H * T, parts, Dh + 2});
  expect_at_most(kernel, "B * T", B * T, 65535);
  simt::launch(
      LaunchName(kernel, context.shape).text, attention_part_kernel<S>,
      dim3(static_cast<unsigned>(parts), static_cast<unsigned>(H), static_cast<unsigned>(B * T)),
      dim3(kScoreThreads), split_smem<S>(scores.layers, Dh).bytes, stream, partial.data, v.data,
      params, parts_of(params.window, span));
  simt::launch(LaunchName("attention_split, its parts", context.shape).text,
               attention_parts_kernel<S>, dim3(static_cast<unsigned>(B * H * T)), dim3(32), 0,
               stream, context.data, lse.data, partial.data, static_cast<int>(parts),
               static_cast<int>(H), static_cast<int>(T), static_cast<int>(Dh));
}

#define ASSAY_INSTANTIATE(S)                                                          \
  template void attention_split(View<S, 3>, View<accum_t<S>, 3>, View<accum_t<S>, 3>, \
                                const ScoreOperands<S>&, In<S, 4>, int64_t, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
