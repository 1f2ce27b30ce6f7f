// Kernels that are wrong in their synchronisation only. One thread per output unless said
// otherwise.
#pragma once
#include "cuda_impl/simt/simt.h"

namespace assay::racy {

#if defined(__SANITIZE_THREAD__)
inline constexpr unsigned kThreads = 64;  // a thread costs TSan about half a millisecond
#else
inline constexpr unsigned kThreads = 256;
#endif
inline constexpr unsigned kBlocks = 16;  // of the kernels that race across blocks

// Right: out[t] = t - 1. A barrier is missing between the write and the read.
inline __global__ void lower_neighbour(float* out) {
  SIMT_SHARED(float, s, kThreads);
  const unsigned t = threadIdx.x;
  s[t] = static_cast<float>(t);
  out[t] = t > 0 ? s[t - 1] : -1.0f;
}

// Right: out[t] = t + 1. The same, with the neighbour above.
inline __global__ void upper_neighbour(float* out) {
  SIMT_SHARED(float, s, kThreads);
  const unsigned t = threadIdx.x;
  s[t] = static_cast<float>(t);
  out[t] = t + 1 < kThreads ? s[t + 1] : static_cast<float>(kThreads);
}

// Right: out[t] = t, but out[37] = 12. Only threads 12 and 37 share anything.
inline __global__ void one_pair(float* out) {
  SIMT_SHARED(float, s, kThreads);
  const unsigned t = threadIdx.x;
  s[t] = static_cast<float>(t);
  out[t] = t == 37 ? s[12] : static_cast<float>(t);
}

// Right: out[t] = 5. Thread 0 publishes, the others do not wait for it.
inline __global__ void one_publishes(float* out) {
  SIMT_SHARED(float, s, 1);
  if (threadIdx.x == 0) s[0] = 5.0f;
  out[threadIdx.x] = s[0];
}

// Right: out[t] = (t + 96) mod kThreads + 3. The buffer is written again before everyone has read
// it.
inline __global__ void early_reuse(float* out) {
  SIMT_SHARED(float, s, kThreads);
  const unsigned t = threadIdx.x;
  float value = static_cast<float>(t);
  for (int round = 0; round < 3; ++round) {
    s[t] = value;
    __syncthreads();
    value = s[(t + 32) % kThreads] + 1.0f;
  }
  out[t] = value;
}

// Right: out[t] = t mod 32, with 64 threads. Warp 1 reads what warp 0 writes, across a __syncwarp
// only.
inline __global__ void warp_for_block(float* out) {
  SIMT_SHARED(float, s, 32);
  const unsigned t = threadIdx.x;
  if (t < 32) s[t] = static_cast<float>(t);
  __syncwarp();
  out[t] = t >= 32 ? s[t - 32] : static_cast<float>(t);
}

// Right: out[b] = b. Each block reads what the block before it writes.
inline __global__ void block_chain(float* out) {
  const unsigned b = blockIdx.x;
  if (threadIdx.x == 0) out[b] = b > 0 ? out[b - 1] + 1.0f : 0.0f;
}

// Right: out[t] = kThreads. The increment is no atomic.
inline __global__ void lost_update(float* out) {
  SIMT_SHARED(float, s, 1);
  if (threadIdx.x == 0) s[0] = 0.0f;
  __syncthreads();
  s[0] += 1.0f;
  __syncthreads();
  out[threadIdx.x] = s[0];
}

// Right: out[t] = 3. Two threads write the same value to one place.
inline __global__ void same_value(float* out) {
  SIMT_SHARED(float, s, kThreads);
  const unsigned t = threadIdx.x;
  s[t] = 3.0f;
  s[t ^ 1u] = 3.0f;
  __syncthreads();
  out[t] = s[t];
}

// Right: out[0] = kBlocks more than before. Blocks count with a plain increment.
inline __global__ void block_counter(float* out) {
  if (threadIdx.x == 0) out[0] += 1.0f;
}
inline __global__ void block_counter_after_barrier(float* out) {
  __syncthreads();
  if (threadIdx.x == 0) out[0] += 1.0f;
}

// Right: out[i] = kThreads / 4 for i < 4. A scatter without atomicAdd; s is not shared, the output
// is.
inline __global__ void plain_scatter(float* out) { out[threadIdx.x % 4] += 1.0f; }

}  // namespace assay::racy
