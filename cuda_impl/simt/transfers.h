// Copies beside the compute: streams of one's own, events between them, and host memory that copies
// reach without waiting. On the host executor everything happens at once and in order.
#pragma once

#include <memory>

#include "cuda_impl/simt/simt.h"

#if SIMT_ON_HOST
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#endif

namespace assay::simt {
inline namespace SIMT_BACKEND {

#if SIMT_ON_HOST

class OwnStream {
 public:
  Stream get() const { return nullptr; }
};

class Event {
 public:
  void record(Stream) {}
  void make_wait(Stream) const {}
};

inline void* host_alloc(std::size_t bytes) {
  void* memory = std::malloc(bytes != 0 ? bytes : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
inline void host_free(void* memory) noexcept { std::free(memory); }

inline void begin_copy_in(void* device, const void* host, std::size_t bytes, Stream stream) {
  copy_in(device, host, bytes, stream);
}
// As a device does it: past the caches of the host, which a copy of what nobody reads soon would
// only fill. Lines of the target are not read first, which is a third of a plain copy's traffic.
inline void begin_copy_out(void* host, const void* device, std::size_t bytes, Stream stream) {
#if defined(__SSE2__)
  constexpr std::size_t kVector = sizeof(__m128i), kLine = 4 * kVector;
  const std::size_t lead = reinterpret_cast<std::uintptr_t>(host) % kVector;
  if (lead == 0 && bytes >= kLine) {
    const std::size_t whole = bytes / kLine * kLine;
    auto* to = static_cast<__m128i*>(host);
    const auto* from = static_cast<const __m128i*>(device);
    for (std::size_t i = 0; i < whole / kVector; i += 4) {
      const __m128i a = _mm_loadu_si128(from + i), b = _mm_loadu_si128(from + i + 1);
      const __m128i c = _mm_loadu_si128(from + i + 2), d = _mm_loadu_si128(from + i + 3);
      _mm_stream_si128(to + i, a);
      _mm_stream_si128(to + i + 1, b);
      _mm_stream_si128(to + i + 2, c);
      _mm_stream_si128(to + i + 3, d);
    }
    _mm_sfence();
    copy_out(static_cast<std::byte*>(host) + whole, static_cast<const std::byte*>(device) + whole,
             bytes - whole, stream);
    return;
  }
#endif
  copy_out(host, device, bytes, stream);
}

#else

// Launches and copies on it do not wait for the default stream's.
class OwnStream {
 public:
  OwnStream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "OwnStream"); }
  ~OwnStream() { cudaStreamDestroy(stream_); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  Stream get() const { return stream_; }

 private:
  Stream stream_ = nullptr;
};

// Recorded on one stream, another waits for what stood there then; for nothing before the first
// record.
class Event {
 public:
  Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "Event"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(Stream stream) { check(cudaEventRecord(event_, stream), "Event::record"); }
  void make_wait(Stream stream) const {
    check(cudaStreamWaitEvent(stream, event_, 0), "Event::make_wait");
  }

 private:
  cudaEvent_t event_ = nullptr;
};

inline void* host_alloc(std::size_t bytes) {  // pinned
  void* memory = nullptr;
  check(cudaMallocHost(&memory, bytes != 0 ? bytes : 1), "host_alloc");
  return memory;
}
inline void host_free(void* memory) noexcept { cudaFreeHost(memory); }

// They return at once. The memory stays as it is until the stream has got there.
inline void begin_copy_in(void* device, const void* host, std::size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream), "begin_copy_in");
}
inline void begin_copy_out(void* host, const void* device, std::size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream), "begin_copy_out");
}

#endif

struct FreeHost {
  void operator()(std::byte* memory) const noexcept { host_free(memory); }
};
using HostMemory = std::unique_ptr<std::byte, FreeHost>;
inline HostMemory host_memory(std::size_t bytes) {
  return HostMemory(static_cast<std::byte*>(host_alloc(bytes)));
}

}  // namespace SIMT_BACKEND
}  // namespace assay::simt
