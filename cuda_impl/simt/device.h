// The device back end of simt.h: names map to CUDA's own. Included by simt.h only.
//
// Without nvcc (ASSAY_SIMT_DEVICE) only the memory functions and Buffer exist: enough for host code
// that owns device buffers and calls launchers.
#pragma once
#include <cuda_runtime.h>

#include <tuple>
#include <utility>

namespace assay::simt {
inline namespace on_device {

using Stream = cudaStream_t;

template <class A>
concept HookedScalar = false;  // on the host only

inline void check(cudaError_t status, const char* where) {
  if (status == cudaSuccess) return;
  throw Error(std::string(where) + ": " + cudaGetErrorName(status) + ": " +
              cudaGetErrorString(status));
}

inline void* device_alloc(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes != 0 ? bytes : 1), "device_alloc");
  return memory;
}
inline void device_free(void* memory) noexcept { cudaFree(memory); }

// Copies follow the work queued on the stream. copy_in and copy_out return when the bytes have
// arrived.
inline void copy_in(void* device, const void* host, std::size_t bytes, Stream stream = nullptr) {
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream), "copy_in");
  check(cudaStreamSynchronize(stream), "copy_in");
}
inline void copy_out(void* host, const void* device, std::size_t bytes, Stream stream = nullptr) {
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream), "copy_out");
  check(cudaStreamSynchronize(stream), "copy_out");
}
inline void device_copy(void* to, const void* from, std::size_t bytes, Stream stream = nullptr) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream), "device_copy");
}
inline void device_zero(void* device, std::size_t bytes, Stream stream = nullptr) {
  check(cudaMemsetAsync(device, 0, bytes, stream), "device_zero");
}
inline void synchronize() { check(cudaDeviceSynchronize(), "synchronize"); }

// Why kernels cannot run here, or an empty string. Any error means skip: a machine without a driver
// does not report "no device".
inline std::string unavailable() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    cudaGetLastError();  // clears the sticky error
    return std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status);
  }
  return count > 0 ? std::string() : std::string("no CUDA device");
}

}  // namespace on_device
}  // namespace assay::simt

#if defined(__CUDACC__)
#define SIMT_DEVICE __device__ __forceinline__
#define SIMT_UNROLL _Pragma("unroll")
#define SIMT_NO_UNROLL _Pragma("unroll 1")
#define SIMT_SHARED(T, name, ...) __shared__ T name[__VA_ARGS__]

namespace assay::simt {
inline namespace on_device {

class Smem {
 public:
  template <class T>
  __device__ __forceinline__ T* take(std::size_t count) {
    extern __shared__ __align__(16) unsigned char simt_dynamic_smem[];
    T* memory = reinterpret_cast<T*>(simt_dynamic_smem + offset_);
    offset_ += smem_align(count * sizeof(T));
    return memory;
  }

 private:
  std::size_t offset_ = 0;
};

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t smem_bytes,
            Stream stream, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "one argument per kernel parameter");
  const void* entry = reinterpret_cast<const void*>(kernel);
  if (smem_bytes > kStaticSmemLimit) {
    check(cudaFuncSetAttribute(entry, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(smem_bytes)),
          name);
  }
  cudaLaunchConfig_t shape{};
  shape.gridDim = grid;
  shape.blockDim = block;
  shape.dynamicSmemBytes = smem_bytes;
  shape.stream = stream;
  std::tuple<P...> values(static_cast<P>(std::forward<A>(args))...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {const_cast<void*>(static_cast<const void*>(&value))..., nullptr};
        check(cudaLaunchKernelExC(&shape, entry, pointers), name);
      },
      values);
}

SIMT_DEVICE float exp(float x) { return ::expf(x); }
SIMT_DEVICE double exp(double x) { return ::exp(x); }
SIMT_DEVICE float log(float x) { return ::logf(x); }
SIMT_DEVICE double log(double x) { return ::log(x); }
SIMT_DEVICE float sqrt(float x) { return ::sqrtf(x); }
SIMT_DEVICE double sqrt(double x) { return ::sqrt(x); }
SIMT_DEVICE float rsqrt(float x) { return ::rsqrtf(x); }
SIMT_DEVICE double rsqrt(double x) { return ::rsqrt(x); }
SIMT_DEVICE float tanh(float x) { return ::tanhf(x); }
SIMT_DEVICE double tanh(double x) { return ::tanh(x); }
SIMT_DEVICE float erf(float x) { return ::erff(x); }
SIMT_DEVICE double erf(double x) { return ::erf(x); }
SIMT_DEVICE float abs(float x) { return ::fabsf(x); }
SIMT_DEVICE double abs(double x) { return ::fabs(x); }
SIMT_DEVICE float max(float a, float b) { return ::fmaxf(a, b); }
SIMT_DEVICE double max(double a, double b) { return ::fmax(a, b); }

template <class A>
SIMT_DEVICE A warp_sum(A value) {
  SIMT_UNROLL for (int offset = 16; offset != 0; offset >>= 1) {
    value += __shfl_xor_sync(kFullMask, value, offset);
  }
  return value;
}
template <class A>
SIMT_DEVICE A warp_max(A value) {
  SIMT_UNROLL for (int offset = 16; offset != 0; offset >>= 1) {
    value = simt::max(value, __shfl_xor_sync(kFullMask, value, offset));
  }
  return value;
}

}  // namespace on_device
}  // namespace assay::simt
#endif  // __CUDACC__
