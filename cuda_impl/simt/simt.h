// One kernel source, two compilers: nvcc makes GPU code of it, g++ makes code that the host
// executor runs.
//
// A kernel keeps CUDA's spelling: threadIdx, blockIdx, blockDim, gridDim, __syncthreads,
// __syncwarp, __shfl_*_sync,
// __ballot_sync, __any_sync, __all_sync, atomicAdd, atomicMax, atomicCAS, atomicExch, __ldg,
// __threadfence. Only what CUDA's own form cannot map is spelled differently:
//
//   SIMT_SHARED(T, name, N);                      __shared__ T name[N];
//   simt::Smem sm; T* p = sm.take<T>(n);          extern __shared__, carved by the same calls in
//                                                 every thread
//   simt::SmemSize{}.add<T>(n).bytes              the launch's byte count for those takes
//   SIMT_UNROLL, SIMT_NO_UNROLL                   #pragma unroll, #pragma unroll 1
//   SIMT_DEVICE, SIMT_HD                          a function for kernels; for kernels and the host
//   simt::exp, log, sqrt, rsqrt, tanh, erf,       per scalar type, never a fast intrinsic; call
//   abs, max                                      them qualified
//   simt::warp_sum, warp_max                      butterfly over 32 lanes: offsets 16, 8, 4, 2, 1
//   simt::mma, in mma.h                           the warp-wide product of tensor cores
//   simt::launch("name", kernel, grid, block, smem_bytes, stream, args...)
//
// launch converts the arguments to the kernel's parameter types and throws Error; its message
// starts with the name. Kernel libraries put what they define in `inline namespace SIMT_BACKEND`
// too.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "cuda_impl/simt/half.h"

namespace assay::simt {
inline namespace SIMT_BACKEND {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline constexpr unsigned kFullMask = 0xffffffffu;
inline constexpr std::size_t kStaticSmemLimit = 48 * 1024;    // what a block may declare
inline constexpr std::size_t kDynamicSmemLimit = 227 * 1024;  // what a launch may ask for (sm_90)

// Every take from shared memory starts at a multiple of 16 bytes.
SIMT_HD constexpr std::size_t smem_align(std::size_t bytes) { return (bytes + 15) / 16 * 16; }

// Mirrors a kernel's sequence of Smem::take calls.
struct SmemSize {
  std::size_t bytes = 0;
  template <class T>
  constexpr SmemSize add(std::size_t count) const {
    return {bytes + smem_align(count * sizeof(T))};
  }
};

}  // namespace SIMT_BACKEND
}  // namespace assay::simt

#if SIMT_ON_HOST
#include "cuda_impl/simt/host.h"
#else
#include "cuda_impl/simt/device.h"
#endif

namespace assay::simt {
inline namespace SIMT_BACKEND {

// An owning array in device memory. Its contents start undefined (all bits set on the host
// executor).
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(std::size_t count)
      : data_(static_cast<T*>(device_alloc(count * sizeof(T)))), size_(count) {}
  // From anything contiguous with data() and size() over T.
  template <class Values>
  requires std::is_same_v<std::remove_cvref_t<decltype(*std::declval<const Values&>().data())>, T>
  explicit Buffer(const Values& values) : Buffer(values.size()) {
    copy_in(data_, values.data(), size_bytes());
  }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { device_free(data_); }

  T* get() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t size_bytes() const { return size_ * sizeof(T); }
  void zero(Stream stream = nullptr) { device_zero(data_, size_bytes(), stream); }

  // Resizes `values` and fills it, after the work queued on `stream`.
  template <class Values>
  void to(Values& values, Stream stream = nullptr) const {
    values.resize(size_);
    copy_out(values.data(), data_, size_bytes(), stream);
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::simt
