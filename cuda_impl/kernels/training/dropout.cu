// Dropout of a residual branch, forward and, of its gradient, backward:
//
//   y[i] = scale x[i] / (1 - p)  where word first + i of the stream is at least p 2^32,  else 0
//
//   x  [N,D]  stored as Operand: S, or accum_t<S>;  y [N,D] stored as S: the only rounding to it. y
//             may be x.
// The stream is counter-based, Philox4x32-10 with
//   key = seed, counter = (block, stream), low word first; word i is word i mod 4 of block i div 4
// so that a mask is computed wherever it is needed, and never stored.
// Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
//
// Launch: one thread per block of four words. Any N, D >= 1.
// No additions. CPU counterpart: reference/training/dropout.cpp
#include <cmath>
#include <string>

#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr int kThreads = 256, kWords = 4;

struct Words {
  uint32_t word[kWords];
};

__device__ inline Words words_of_block(uint64_t seed, uint64_t stream, uint64_t block) {
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t even = uint64_t{0xD2511F53u} * c0, odd = uint64_t{0xCD9E8D57u} * c2;
    c0 = static_cast<uint32_t>(odd >> 32) ^ c1 ^ k0;
    c2 = static_cast<uint32_t>(even >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(odd);
    c3 = static_cast<uint32_t>(even);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Words below `threshold` drop their element.
template <class S, class Operand>
__global__ void dropout_kernel(S* y, const Operand* x, accum_t<S> scale, uint64_t threshold,
                               DropoutMask mask, int64_t elements) {
  const uint64_t block = mask.first / kWords + uint64_t{blockIdx.x} * kThreads + threadIdx.x;
  const Words words = words_of_block(mask.seed, mask.stream, block);
  for (int w = 0; w < kWords; ++w) {
    const int64_t i = static_cast<int64_t>(block * kWords + w - mask.first);
    if (i < 0 || i >= elements) continue;
    accum_t<S> kept = accum_t<S>(0);
    if (words.word[w] >= threshold) kept = scale * simt::to_accum(x[i]);
    y[i] = simt::from_accum<S>(kept);
  }
}

}  // namespace

template <class S, class Operand>
void dropout(View<S, 2> y, In<Operand, 2> x, double scale, const DropoutMask& mask, Stream stream) {
  const auto [N, D] = y.shape;
  expect_shape("dropout", "y [N,D]", y, {N, D});
  expect_shape("dropout", "x [N,D]", x, {N, D});
  if (!(mask.rate >= 0 && mask.rate < 1)) {
    throw simt::Error("dropout: rate: expected 0 or more and less than 1, got " +
                      std::to_string(mask.rate));
  }
  const auto threshold = static_cast<uint64_t>(std::ceil(mask.rate * 0x1p32));
  const int64_t lead = static_cast<int64_t>(mask.first % kWords);
  const int64_t blocks = (lead + N * D + kWords - 1) / kWords;
  simt::launch(LaunchName("dropout", y.shape).text, dropout_kernel<S, Operand>,
               dim3(blocks_for(blocks, kThreads)), dim3(kThreads), 0, stream, y.data, x.data,
               scale / (1 - mask.rate), threshold, mask, N * D);
}

#define ASSAY_INSTANTIATE(S) \
  template void dropout<S, S>(View<S, 2>, In<S, 2>, double, const DropoutMask&, Stream);
#define ASSAY_INSTANTIATE_WIDE(S)                                                                 \
  template void dropout<S, accum_t<S>>(View<S, 2>, In<accum_t<S>, 2>, double, const DropoutMask&, \
                                       Stream);
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
ASSAY_FOR_NARROW_TYPES(ASSAY_INSTANTIATE_WIDE)
#undef ASSAY_INSTANTIATE_WIDE
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
