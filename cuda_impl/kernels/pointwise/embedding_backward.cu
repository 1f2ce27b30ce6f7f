// Backward of embedding.cu:  dtable[v,d] = sum of dy[n,d] over the n with tokens[n] = v, ascending
//
//   tokens  [N]    N = B*T, in [0,V), as in embedding.cu
//   dy      [N,D]  stored as S
//   dtable  [V,D]  accum_t<S>; with `accumulate` added to what it holds, else every row is written
// Each row belongs to one warp, which looks through all tokens 32 at a time: no atomics, and no
// order of arrival. With fast_atomics every element of dy is added where it belongs as it comes.
// Launch: one warp per row and kColumns*32 columns. Reads V*ceil(D/128)*N tokens in all, mostly
// from cache. fast_atomics: one thread per element of dy. Any N, V, D >= 1. No scratch memory.
// Longest addition chain: how often a token occurs, and 1 to accumulate.
// CPU counterpart: reference/ops/embedding.cpp
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kRowsPerBlock = 4;
constexpr int kColumns = 4;  // per lane: lane, lane + 32, ..
constexpr int kThreads = 256;

template <class S>
__global__ void embedding_backward_kernel(accum_t<S>* __restrict__ dtable, const S* __restrict__ dy,
                                          const int32_t* __restrict__ tokens, int N, int V, int D,
                                          bool accumulate) {
  using A = accum_t<S>;
  const int v = static_cast<int>(blockIdx.x * kRowsPerBlock + threadIdx.y);
  const int lane = static_cast<int>(threadIdx.x);
  if (v >= V) return;  // same for the whole warp, so the ballots stay safe
  const int column0 = static_cast<int>(blockIdx.y) * 32 * kColumns + lane;

  A r_sum[kColumns] = {};
  bool any = false;
  for (int64_t n0 = 0; n0 < N; n0 += 32) {
    const bool here = n0 + lane < N && tokens[n0 + lane] == v;
    unsigned hits = __ballot_sync(simt::kFullMask, here);
    any = any || hits != 0;
    for (int i = 0; hits != 0; ++i, hits >>= 1) {
      if ((hits & 1u) == 0) continue;
      const S* row = dy + (n0 + i) * D;  // [D]
      SIMT_UNROLL for (int c = 0; c < kColumns; ++c) {
        if (column0 + 32 * c < D) r_sum[c] += simt::to_accum(row[column0 + 32 * c]);
      }
    }
  }

  if (accumulate && !any) return;
  A* out = dtable + int64_t{v} * D;  // [D]
  for (int c = 0; c < kColumns; ++c) {
    const int column = column0 + 32 * c;
    if (column < D) out[column] = accumulate ? out[column] + r_sum[c] : r_sum[c];
  }
}

template <class S>
__global__ void add_rows_kernel(accum_t<S>* __restrict__ dtable, const S* __restrict__ dy,
                                const int32_t* __restrict__ tokens, int64_t elements, int D) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  atomicAdd(dtable + int64_t{tokens[i / D]} * D + i % D, simt::to_accum(dy[i]));
}

}  // namespace

template <class S>
void embedding_backward(View<accum_t<S>, 2> dtable, In<S, 2> dy, In<int32_t, 1> tokens,
                        bool accumulate, Stream stream, bool fast_atomics) {
  const auto [V, D] = dtable.shape;
  const int64_t N = tokens.shape[0];
  expect_shape("embedding_backward", "dtable [V,D]", dtable, {V, D});
  expect_shape("embedding_backward", "tokens [N]", tokens, {N});
  expect_shape("embedding_backward", "dy [N,D]", dy, {N, D});
  if (fast_atomics) {
    if (!accumulate) {
      throw simt::Error("embedding_backward: accumulate: expected true with fast_atomics");
    }
    simt::launch(LaunchName("embedding_backward", dtable.shape).text, add_rows_kernel<S>,
                 dim3(blocks_for(N * D, kThreads)), dim3(kThreads), 0, stream, dtable.data, dy.data,
                 tokens.data, N * D, D);
    return;
  }
  simt::launch(LaunchName("embedding_backward", dtable.shape).text, embedding_backward_kernel<S>,
               dim3(blocks_for(V, kRowsPerBlock), blocks_for(D, 32 * kColumns)),
               dim3(32, kRowsPerBlock), 0, stream, dtable.data, dy.data, tokens.data, N, V, D,
               accumulate);
}

#define ASSAY_INSTANTIATE(S)                                                                       \
  template void embedding_backward<S>(View<accum_t<S>, 2>, In<S, 2>, In<int32_t, 1>, bool, Stream, \
                                      bool);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
