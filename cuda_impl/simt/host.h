// The host back end of simt.h: CUDA's spelling on top of the fiber executor. Included by simt.h
// only, and never together with a CUDA toolkit header.
//
// A block runs on one OS thread; its CUDA threads are fibers that hand over to each other at
// barriers and warp collectives. Global names are using-declarations, so this header defines no
// symbol that CUDA also defines.
#pragma once
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>

#include "cuda_impl/simt/host_executor.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define SIMT_DEVICE inline
#define SIMT_UNROLL _Pragma("GCC unroll 4")
#define SIMT_NO_UNROLL

// A reference to an array with red zones on both sides; UBSan checks its indices, ASan its
// addresses.
#define SIMT_SHARED(T, name, ...)                                                     \
  T(&name)                                                                            \
  [__VA_ARGS__] = *static_cast<T(*)[__VA_ARGS__]>(::assay::simt::host::shared_static( \
      [] {                                                                            \
        static const char key = 0;                                                    \
        return static_cast<const void*>(&key);                                        \
      }(),                                                                            \
      sizeof(T[__VA_ARGS__]), sizeof(T[__VA_ARGS__]) / ::assay::simt::kSizeRatio<T>))

namespace assay::simt {
inline namespace on_host {

struct StreamTag;
using Stream = StreamTag*;  // launches are synchronous: any value will do

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t smem_bytes,
            [[maybe_unused]] Stream stream, A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "one argument per kernel parameter");
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> args;
  } call{kernel, std::tuple<P...>(static_cast<P>(std::forward<A>(args))...)};
  const auto run_thread = [](void* erased) {
    const Call& c = *static_cast<const Call*>(erased);
    std::apply(c.kernel, c.args);
  };
  host::run_grid({name, grid, block, smem_bytes, run_thread, &call});
}

class Smem {
 public:
  template <class T>
  T* take(std::size_t count) {
    return static_cast<T*>(host::shared_dynamic(index_++, count * sizeof(T)));
  }

 private:
  std::size_t index_ = 0;
};

void* device_alloc(std::size_t bytes);  // all bits set: floating-point data starts as NaN
void device_free(void* memory) noexcept;
inline void device_copy(void* to, const void* from, std::size_t bytes, Stream = nullptr) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}
inline void copy_in(void* device, const void* host, std::size_t bytes, Stream = nullptr) {
  device_copy(device, host, bytes);
}
inline void copy_out(void* host, const void* device, std::size_t bytes, Stream = nullptr) {
  device_copy(host, device, bytes);
}
inline void device_zero(void* device, std::size_t bytes, Stream = nullptr) {
  if (bytes != 0) std::memset(device, 0, bytes);
}
inline void synchronize() {}
inline std::string unavailable() { return {}; }

// ------------------------------------------------------------------------------------------------
// scalars

// A scalar of the host build that is more than a number (one that carries dependences, say)
// specialises this with static functions exp, log, sqrt, rsqrt, tanh, erf, abs, max. It must be
// trivially copyable.
template <class A>
struct ScalarHooks;
template <class A>
concept HookedScalar = requires {
  sizeof(ScalarHooks<A>);
}
&&std::is_trivially_copyable_v<A>;

// A scalar with hooks takes the place of a double, and its static shared arrays count as doubles
// against the device's limit.
template <class T>
inline constexpr std::size_t kSizeRatio = 1;
template <HookedScalar A>
inline constexpr std::size_t kSizeRatio<A> = [] {
  constexpr std::size_t ratio = (sizeof(A) + sizeof(double) - 1) / sizeof(double);
  static_assert(ratio <= host::kLargestRatio);
  return ratio;
}();

template <class A>
concept Real = std::is_same_v<A, float> || std::is_same_v<A, double>;

inline float exp(float x) { return std::exp(x); }
inline double exp(double x) { return std::exp(x); }
inline float log(float x) { return std::log(x); }
inline double log(double x) { return std::log(x); }
inline float sqrt(float x) { return std::sqrt(x); }
inline double sqrt(double x) { return std::sqrt(x); }
inline float rsqrt(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float tanh(float x) { return std::tanh(x); }
inline double tanh(double x) { return std::tanh(x); }
inline float erf(float x) { return std::erf(x); }
inline double erf(double x) { return std::erf(x); }
inline float abs(float x) { return std::fabs(x); }
inline double abs(double x) { return std::fabs(x); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }

// clang-format off
template <HookedScalar A> A exp(A x) { return ScalarHooks<A>::exp(x); }
template <HookedScalar A> A log(A x) { return ScalarHooks<A>::log(x); }
template <HookedScalar A> A sqrt(A x) { return ScalarHooks<A>::sqrt(x); }
template <HookedScalar A> A rsqrt(A x) { return ScalarHooks<A>::rsqrt(x); }
template <HookedScalar A> A tanh(A x) { return ScalarHooks<A>::tanh(x); }
template <HookedScalar A> A erf(A x) { return ScalarHooks<A>::erf(x); }
template <HookedScalar A> A abs(A x) { return ScalarHooks<A>::abs(x); }
template <HookedScalar A> A max(A a, std::type_identity_t<A> b) {
  return ScalarHooks<A>::max(a, b);
}
// clang-format on

// ------------------------------------------------------------------------------------- warp
// collectives

namespace host {

template <class T>
struct ShuffleRequest {
  T value;          // in: what this lane offers; out: what it receives
  int source_lane;  // within the warp
};

template <class T>
void shuffle_lanes(void** requests, unsigned mask) {
  T offered[32];
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1u) offered[lane] = static_cast<ShuffleRequest<T>*>(requests[lane])->value;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1u)) continue;
    auto& request = *static_cast<ShuffleRequest<T>*>(requests[lane]);
    if (!(mask >> request.source_lane & 1u)) fail_shuffle_source(lane, request.source_lane, mask);
    request.value = offered[request.source_lane];
  }
}

template <class T>
T shuffle(unsigned mask, T value, int source_lane, const Loc& loc) {
  static_assert(
      std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8 || HookedScalar<T>),
      "CUDA shuffles move 4 or 8 bytes");
  ShuffleRequest<T> request{value, source_lane};
  sync_warp(mask, shuffle_lanes<T>, &request, loc);
  return request.value;
}

// The association of the shuffle butterfly, so the bits are those of the device's loop of shuffles.
template <class A, class Combine>
void butterfly_lanes(void** values, unsigned) {
  A now[32], next[32];
  for (int lane = 0; lane < 32; ++lane) now[lane] = *static_cast<A*>(values[lane]);
  for (int offset = 16; offset != 0; offset >>= 1) {
    for (int lane = 0; lane < 32; ++lane) next[lane] = Combine{}(now[lane], now[lane ^ offset]);
    for (int lane = 0; lane < 32; ++lane) now[lane] = next[lane];
  }
  for (int lane = 0; lane < 32; ++lane) *static_cast<A*>(values[lane]) = now[lane];
}
struct Sum {
  template <class A>
  A operator()(A a, A b) const {
    return a + b;
  }
};
struct Max {
  template <class A>
  A operator()(A a, A b) const {
    return simt::max(a, b);
  }
};

void ballot_lanes(void** predicates, unsigned mask);  // in: predicate, out: the ballot

// Width is a power of two; lanes shuffle within segments of that many lanes.
inline int own_lane(int width) {
  if (width < 1 || width > 32 || (width & (width - 1)) != 0) fail_shuffle_width(width);
  return static_cast<int>(lane_id());
}

}  // namespace host

template <class A>
requires Real<A> || HookedScalar<A> A warp_sum(A value, host::Loc loc = host::Loc::current()) {
  host::sync_warp(kFullMask, host::butterfly_lanes<A, host::Sum>, &value, loc);
  return value;
}
template <class A>
requires Real<A> || HookedScalar<A> A warp_max(A value, host::Loc loc = host::Loc::current()) {
  host::sync_warp(kFullMask, host::butterfly_lanes<A, host::Max>, &value, loc);
  return value;
}

// --------------------------------------------------------------------------------------- CUDA's
// spelling

namespace spelling {
using host::Loc;

inline constexpr int warpSize = 32;

inline void __syncthreads(Loc loc = Loc::current()) { host::sync_block(loc); }
inline void __syncwarp(unsigned mask = kFullMask, Loc loc = Loc::current()) {
  host::sync_warp(mask, nullptr, nullptr, loc);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, Loc loc = Loc::current()) {
  const int segment = host::own_lane(width) & ~(width - 1);
  return host::shuffle(mask, value, segment | (source & (width - 1)), loc);
}
// A source past the end of the own segment gives the own value; an earlier segment may be read, as
// on the device.
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int offset, int width = 32, Loc loc = Loc::current()) {
  const int lane = host::own_lane(width);
  const int source = lane ^ offset;
  const bool past_segment = (source & ~(width - 1)) > (lane & ~(width - 1));
  return host::shuffle(mask, value, past_segment ? lane : source, loc);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned offset, int width = 32,
                   Loc loc = Loc::current()) {
  const int lane = host::own_lane(width);
  const int last = lane | (width - 1);
  const bool inside = offset <= static_cast<unsigned>(last - lane);
  return host::shuffle(mask, value, inside ? lane + static_cast<int>(offset) : lane, loc);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned offset, int width = 32,
                 Loc loc = Loc::current()) {
  const int lane = host::own_lane(width);
  const int first = lane & ~(width - 1);
  const bool inside = offset <= static_cast<unsigned>(lane - first);
  return host::shuffle(mask, value, inside ? lane - static_cast<int>(offset) : lane, loc);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, Loc loc = Loc::current()) {
  unsigned ballot = predicate != 0;
  host::sync_warp(mask, host::ballot_lanes, &ballot, loc);
  return ballot;
}
inline int __any_sync(unsigned mask, int predicate, Loc loc = Loc::current()) {
  return __ballot_sync(mask, predicate, loc) != 0;
}
inline int __all_sync(unsigned mask, int predicate, Loc loc = Loc::current()) {
  return __ballot_sync(mask, predicate, loc) == mask;
}

// Atomics return the old value and order nothing else, as CUDA's do.
template <class T>
T atomicAdd(T* target, std::type_identity_t<T> value) {
  if constexpr (HookedScalar<T>) {
    const auto lock = host::lock_atomics();
    return std::exchange(*target, *target + value);
  } else {
    return std::atomic_ref<T>(*target).fetch_add(value, std::memory_order_relaxed);
  }
}
template <class T>
T atomicExch(T* target, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*target).exchange(value, std::memory_order_relaxed);
}
template <class T>
T atomicCAS(T* target, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  std::atomic_ref<T>(*target).compare_exchange_strong(expected, value, std::memory_order_relaxed);
  return expected;
}
template <class T>
T atomicMax(T* target, std::type_identity_t<T> value) {
  std::atomic_ref<T> cell(*target);
  T old = cell.load(std::memory_order_relaxed);
  while (old < value && !cell.compare_exchange_weak(old, value, std::memory_order_relaxed)) {
  }
  return old;
}

inline void __threadfence() { host::fence(); }
inline void __threadfence_block() { host::fence(); }
template <class T>
T __ldg(const T* source) {
  return *source;
}

}  // namespace spelling
}  // namespace on_host
}  // namespace assay::simt

using assay::simt::on_host::blockDim;
using assay::simt::on_host::blockIdx;
using assay::simt::on_host::dim3;
using assay::simt::on_host::gridDim;
using assay::simt::on_host::threadIdx;
using assay::simt::on_host::uint3;
using namespace assay::simt::on_host::spelling;
