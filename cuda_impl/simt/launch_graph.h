// A sequence of launches that is the same every time: recorded as a CUDA graph, then launched as
// one.
// On the host executor the launches are simply made.
#pragma once

#include "cuda_impl/simt/simt.h"

namespace assay::simt {
inline namespace SIMT_BACKEND {

#if SIMT_ON_HOST
class LaunchStream {
 public:
  Stream get() const { return nullptr; }
};

class LaunchGraph {
 public:
  template <class Enqueue>
  void run(Stream, const Enqueue& enqueue) {
    enqueue();
  }
  void forget() {}
};
#else
// A stream of its own: the default stream cannot be recorded.
class LaunchStream {
 public:
  LaunchStream() { check(cudaStreamCreate(&stream_), "stream"); }
  LaunchStream(const LaunchStream&) = delete;
  LaunchStream& operator=(const LaunchStream&) = delete;
  ~LaunchStream() { cudaStreamDestroy(stream_); }
  Stream get() const { return stream_; }

 private:
  Stream stream_ = nullptr;
};

class LaunchGraph {
 public:
  LaunchGraph() = default;
  LaunchGraph(const LaunchGraph&) = delete;
  LaunchGraph& operator=(const LaunchGraph&) = delete;
  ~LaunchGraph() { forget(); }

  // enqueue() launches on `stream` with the same arguments every time until forget(). The first run
  // only launches: it may allocate, which a recording may not.
  template <class Enqueue>
  void run(Stream stream, const Enqueue& enqueue) {
    if (!ran_) {
      enqueue();
      ran_ = true;
      return;
    }
    if (recorded_ == nullptr) record(stream, enqueue);
    check(cudaGraphLaunch(recorded_, stream), "graph");
  }
  void forget() {
    if (recorded_ != nullptr) cudaGraphExecDestroy(recorded_);
    recorded_ = nullptr;
    ran_ = false;
  }

 private:
  template <class Enqueue>
  void record(Stream stream, const Enqueue& enqueue) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "graph");
    cudaGraph_t graph = nullptr;
    try {
      enqueue();
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(stream, &graph), "graph");
    const cudaError_t status = cudaGraphInstantiate(&recorded_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "graph");
  }

  cudaGraphExec_t recorded_ = nullptr;
  bool ran_ = false;
};
#endif

}  // namespace SIMT_BACKEND
}  // namespace assay::simt
