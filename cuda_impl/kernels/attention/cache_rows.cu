// Rows of a chunk into and out of what decoding keeps:
//   append_rows  cache[b,h,ring.row_of(position_offset[b]+t),w] = rows[b,h,t,w] for t < counts[b]
//   last_rows    y[b,d] = x[b,max(counts[b],1)-1,d]
//
//   cache   [B,H,R,W], rows [B,H,C,W]  of any element, copied bit for bit; with blocks cache
//                                      [blocks,H,blocks.rows,W]
//   y       [B,D], x [B,C,D]           stored as S, likewise
//   position_offset, counts  [B]       counts[b] <= C and, without a ring, position_offset[b] +
//                                      counts[b] <= R: the caller checks them
//   ring                               of R rows, at least C of them taken in turn
// Launch: one thread per element of rows or y. Any extents >= 1.
// Longest addition chain 0.
// CPU counterpart: none: the reference forms a whole sequence at once.
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void append_rows_kernel(T* __restrict__ cache, const T* __restrict__ rows,
                                   const int32_t* __restrict__ position_offset,
                                   const int32_t* __restrict__ counts, int64_t elements, int H,
                                   int C, int R, int W, Ring ring, BlockTable blocks) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  const int64_t row = i / W;  // (b*H + h)*C + t
  const int t = static_cast<int>(row % C);
  const int64_t head = row / C, b = head / H;
  if (t >= counts[b]) return;
  const int position = position_offset[b] + t;
  int64_t to = head * R + ring.row_of(position);
  if (blocks.blocks != nullptr) {
    const auto [block, inside] = blocks.of(b, position);
    to = (block * H + head % H) * blocks.rows + inside;
  }
  cache[to * W + i % W] = rows[i];
}

template <class S>
__global__ void last_rows_kernel(S* __restrict__ y, const S* __restrict__ x,
                                 const int32_t* __restrict__ counts, int64_t elements, int C,
                                 int D) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= elements) return;
  const int64_t b = i / D;
  const int last = counts[b] > 0 ? counts[b] - 1 : 0;
  y[i] = x[(b * C + last) * D + i % D];
}

void expect_counts(const char* kernel, const int32_t* counts) {
  if (counts == nullptr) {
    throw simt::Error(std::string(kernel) + ": counts: expected memory, got a null pointer");
  }
}

}  // namespace

template <class T>
void append_rows(View<T, 4> cache, In<T, 4> rows, const int32_t* position_offset,
                 const int32_t* counts, Stream stream, const Ring& ring, const BlockTable& blocks) {
  const bool in_blocks = blocks.blocks != nullptr;
  const auto [count, H, R, W] = cache.shape;
  const int64_t B = in_blocks ? rows.shape[0] : count, C = rows.shape[2];
  const int64_t held = in_blocks ? int64_t{blocks.rows} * blocks.columns : R;
  expect_shape("append_rows", "cache [B,H,R,W]", cache, {count, H, in_blocks ? blocks.rows : R, W});
  expect_shape("append_rows", "rows [B,H,C,W]", rows, {B, H, C, W});
  expect_ring("append_rows", ring, R);
  expect_blocks("append_rows", blocks, ring, C);
  expect_at_most("append_rows", "C", C, ring.round == 0 ? held : ring.round);
  expect_counts("append_rows", counts);
  if (position_offset == nullptr) {
    throw simt::Error("append_rows: position_offset: expected memory, got a null pointer");
  }
  const int64_t elements = B * H * C * W;
  simt::launch(LaunchName("append_rows", rows.shape).text, append_rows_kernel<T>,
               dim3(blocks_for(elements, kThreads)), dim3(kThreads), 0, stream, cache.data,
               rows.data, position_offset, counts, elements, H, C, R, W, ring, blocks);
}

template <class S>
void last_rows(View<S, 2> y, In<S, 3> x, const int32_t* counts, Stream stream) {
  const auto [B, D] = y.shape;
  const int64_t C = x.shape[1];
  expect_shape("last_rows", "y [B,D]", y, {B, D});
  expect_shape("last_rows", "x [B,C,D]", x, {B, C, D});
  expect_counts("last_rows", counts);
  simt::launch(LaunchName("last_rows", x.shape).text, last_rows_kernel<S>,
               dim3(blocks_for(B * D, kThreads)), dim3(kThreads), 0, stream, y.data, x.data, counts,
               B * D, C, D);
}

#define ASSAY_INSTANTIATE(S)                                                              \
  template void append_rows(View<S, 4>, In<S, 4>, const int32_t*, const int32_t*, Stream, \
                            const Ring&, const BlockTable&);                              \
  template void last_rows(View<S, 2>, In<S, 3>, const int32_t*, Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE
template void append_rows(View<uint8_t, 4>, In<uint8_t, 4>, const int32_t*, const int32_t*, Stream,
                          const Ring&, const BlockTable&);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
