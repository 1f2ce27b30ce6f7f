// Copies beside the compute: streams of one's own, events between them, and host memory that copies
// reach without waiting. On the host executor everything happens at once and in order.
#pragma once

#include <memory>

#include "cuda_impl/simt/simt.h"

#if SIMT_ON_HOST
#include <cstdlib>
#include <new>
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
inline void begin_copy_out(void* host, const void* device, std::size_t bytes, Stream stream) {
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
