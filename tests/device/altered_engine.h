// The case that the tests run on, and an engine whose output is altered on its way out: what the
// judge of a test bundle must find.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "cli/engine/engine_subject.h"
#include "cli/gpu_check/bundled_case.h"
#include "cuda_impl/engine/interface/model.h"

namespace assay::gpu_check {

using cli::EngineSubject;
using golden::Precision;

inline const std::string kCase = "1-llama-gqa-b2-t7-padded-keep";

inline std::string folder(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr) throw std::runtime_error(fmt::format("{} is not set", variable));
  return value;
}

inline BundleEntry entry_of(const std::string& name) {
  return read_manifest(folder("ASSAY_TEST_BUNDLE"), name).at(0);
}

inline const BundledCase& clean() {
  static const BundledCase bundled = read_case(folder("ASSAY_TEST_BUNDLE"), entry_of(kCase));
  return bundled;
}

inline std::unique_ptr<cuda::Model> engine(const BundledCase& bundled, Precision precision) {
  return cuda::make_host_model(bundled.config, precision, BundledWeights(bundled));
}

// An engine whose output is altered on its way out.
class Altered final : public cuda::Model {
 public:
  using Alter =
      std::function<void(const cuda::Batch&, const std::string&, golden::Tensor, cuda::Probe&)>;

  Altered(Precision precision, Alter alter)
      : made_in_(precision), inner_(engine(clean(), precision)), alter_(std::move(alter)) {}

  // Made once more; it has run nothing.
  std::shared_ptr<cuda::Model> again() const { return std::make_shared<Altered>(made_in_, alter_); }

  void forward(const cuda::Batch& batch, cuda::Probe* probe) override {
    Between between{*this, batch, *probe};
    inner_->forward(batch, &between);
  }
  double gradients(const cuda::Batch& batch, const cuda::ReceiveGradient& receive) override {
    return inner_->gradients(batch, [&](const std::string& name, const golden::TensorView& view) {
      golden::Tensor tensor{view.shape, {view.values.begin(), view.values.end()}};
      if (name == altered_gradient) tensor.values[0] *= 1 + gradient_change;
      receive(name, tensor.view());
    });
  }
  std::unique_ptr<cuda::Decoder> decoder(int64_t sequences, int64_t capacity, int64_t chunk,
                                         const cuda::CacheBlocks& blocks) override {
    return inner_->decoder(sequences, capacity, chunk, blocks);
  }
  std::unique_ptr<cuda::Decoder> decoder(int64_t sequences, int64_t capacity,
                                         int64_t chunk) override {
    return inner_->decoder(sequences, capacity, chunk);
  }
  golden::PrecisionSchedule precision() const override { return inner_->precision(); }

  std::string altered_gradient;
  double gradient_change = 0;

 private:
  struct Between final : cuda::Probe {
    Altered& model;
    const cuda::Batch& batch;
    cuda::Probe& probe;

    Between(Altered& of, const cuda::Batch& on, cuda::Probe& to)
        : model(of), batch(on), probe(to) {}
    bool wants(const std::string& name) override { return probe.wants(name); }
    void tap(const std::string& name, golden::TensorView value) override {
      model.alter_(batch, name, {value.shape, {value.values.begin(), value.values.end()}}, probe);
    }
    bool force(const std::string& name, std::span<double> value) override {
      return probe.force(name, value);
    }
  };

  Precision made_in_;
  std::unique_ptr<cuda::Model> inner_;
  Alter alter_;
};

// Alters one tensor's values in place.
template <class Change>
Altered altered(Precision precision, const std::string& tensor, Change change) {
  return {precision, [=](const cuda::Batch& batch, const std::string& name, golden::Tensor value,
                         cuda::Probe& probe) {
            if (name == tensor) change(batch, value.values);
            probe.tap(name, value.view());
          }};
}

// Without owning it.
inline EngineSubject subject_of(Altered& model) {
  return {"simt",
          std::shared_ptr<cuda::Model>(std::shared_ptr<void>(), &model),
          {},
          [&model](const cuda::ModelOptions&) { return model.again(); }};
}

}  // namespace assay::gpu_check
