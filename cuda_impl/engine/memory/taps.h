// Offers the tensors of a forward pass to a Probe, in the order of golden::tensor_list.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/engine/memory/convert.h"
#include "cuda_impl/kernels/view.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// A probe that is given the elements as kernels store them, before tap(): a scalar can be more than
// the number that tap() shows.
template <class T>
class ElementProbe : public Probe {
 public:
  // Returns whether it changed them: every later kernel reads that.
  virtual bool visit(const golden::TensorInfo& info, std::span<T> elements) = 0;
};

// Without a probe every call returns at once; with one that does not look inside, for every tensor
// but logits and loss. A tensor that is not the next of the list is an InternalError.
class Taps {
 public:
  Taps(Probe* probe, const std::vector<golden::TensorInfo>& list, simt::Stream stream)
      : probe_(probe), list_(list), stream_(stream) {}

  // Reads `array` out if the probe wants it, and overwrites it if the probe forces it.
  template <class T, int R>
  void offer(const std::string& name, View<T, R> array) {
    if (probe_ == nullptr) return;
    if (!active()) {
      if (wants_result(name)) read_out(listed(name), array);
      return;
    }
    const golden::TensorInfo& info = next(name, array);
    if (probe_->wants(name)) read_out(info, array);
    values_.resize(static_cast<std::size_t>(golden::element_count(info.shape)));
    if (!probe_->force(name, values_)) return;
    std::vector<T> stored(values_.size());
    for (std::size_t i = 0; i < stored.size(); ++i) stored[i] = narrow<T>(values_[i]);
    simt::copy_in(array.data, stored.data(), stored.size() * sizeof(T), stream_);
  }

  // The same for a tensor that no kernel reads back: formed by make() only if the probe wants it,
  // never forced.
  template <class Make>
  void offer_made(const std::string& name, const Make& make) {
    if (!active()) return;
    const bool wanted = probe_->wants(name);
    const golden::TensorInfo& info = next(name);
    if (wanted) read_out(info, make());
  }

  void finish() const {
    ASSAY_CHECK(!active() || next_ == list_.size(),
                fmt::format("{} tensors offered, {} listed", next_, list_.size()));
  }

  // Whether every tensor is offered.
  bool active() const { return probe_ != nullptr && probe_->looks_inside(); }
  // Whether logits or loss are read out where nothing else is.
  bool wants_result(const std::string& name) const {
    return probe_ != nullptr && !active() && (name == "logits" || name == "loss") &&
           probe_->wants(name);
  }

 private:
  const golden::TensorInfo& listed(const std::string& name) const {
    const auto found = std::find_if(list_.begin(), list_.end(),
                                    [&](const auto& info) { return info.name == name; });
    ASSAY_CHECK(found != list_.end(), name);
    return *found;
  }

  const golden::TensorInfo& next(const std::string& name) {
    ASSAY_CHECK(next_ < list_.size() && list_[next_].name == name,
                fmt::format("tensor {}: computed {}, listed {}", next_, name,
                            next_ < list_.size() ? list_[next_].name : "no more"));
    return list_[next_++];
  }

  template <class T, int R>
  const golden::TensorInfo& next(const std::string& name, View<T, R> array) {
    const golden::TensorInfo& info = next(name);
    int64_t count = 1;
    for (const int64_t extent : array.shape) count *= extent;
    ASSAY_CHECK(
        count == golden::element_count(info.shape),
        fmt::format("{}: {} elements, listed {}", name, count, golden::shape_text(info.shape)));
    return info;
  }

  template <class T, int R>
  void read_out(const golden::TensorInfo& info, View<T, R> array) {
    std::vector<T> stored(static_cast<std::size_t>(golden::element_count(info.shape)));
    simt::copy_out(stored.data(), array.data, stored.size() * sizeof(T), stream_);
    auto* const elements = dynamic_cast<ElementProbe<T>*>(probe_);
    if (elements != nullptr && elements->visit(info, stored)) {
      simt::copy_in(array.data, stored.data(), stored.size() * sizeof(T), stream_);
    }
    values_.resize(stored.size());
    for (std::size_t i = 0; i < stored.size(); ++i) values_[i] = widen(stored[i]);
    probe_->tap(info.name, {info.shape, values_});
  }

  Probe* probe_;
  const std::vector<golden::TensorInfo>& list_;
  simt::Stream stream_;
  std::size_t next_ = 0;
  std::vector<double> values_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
