// What the backward kernels of both norms share.
#pragma once

#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// x[row,d] + addend[row,d] (null: 0), of rows that share x [N,D] every N.
template <class S>
SIMT_DEVICE accum_t<S> sum_at(const S* x, const S* addend, int64_t row, int N, int D, int d) {
  const accum_t<S> value = simt::to_accum(x[row % N * D + d]);
  return addend == nullptr ? value : value + simt::to_accum(addend[row * D + d]);
}

// The rows [first, end) that a block sums up: chunk blockIdx.x of layer blockIdx.z.
struct ChunkOfRows {
  int64_t first, end;
  int64_t part;  // where its sum goes

  SIMT_DEVICE explicit ChunkOfRows(int N)
      : first(int64_t{blockIdx.z} * N + int64_t{blockIdx.x} * kRowsPerChunk),
        end(first + kRowsPerChunk),
        part(int64_t{blockIdx.z} * gridDim.x + blockIdx.x) {
    const int64_t last = (int64_t{blockIdx.z} + 1) * N;
    if (end > last) end = last;
  }
};

inline void expect_layers(const char* kernel, const NormLayers& layers, bool with_addend) {
  expect_at_most(kernel, "layers", layers.layers, with_addend ? 65535 : 1);
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
