#include "cuda_impl/engine/interface/dependences.h"

#include <fmt/format.h>

#include "cuda_impl/engine/make_model.h"

namespace assay::cuda {
namespace {

// Marks the embeddings, and hands every tensor on.
class Tracer final : public ElementProbe<simt::Tainted> {
 public:
  explicit Tracer(const ReceiveDependences& receive) : receive_(receive) {}

  bool visit(const golden::TensorInfo& info, std::span<simt::Tainted> elements) override {
    const bool is_source = info.name.starts_with("embed");  // [B,T,D], of a label group maybe
    if (is_source) mark_positions(elements, info.shape[2]);
    values_.clear();
    sources_.clear();
    for (const simt::Tainted& element : elements) {
      values_.push_back(element.value);
      sources_.push_back(element.sources);
    }
    receive_(info, values_, sources_);
    return is_source;
  }
  bool wants(const std::string&) override { return true; }
  void tap(const std::string&, golden::TensorView) override {}
  bool force(const std::string&, std::span<double>) override { return false; }

 private:
  static void mark_positions(std::span<simt::Tainted> elements, int64_t D) {
    for (std::size_t i = 0; i < elements.size(); ++i) {
      elements[i].sources = {};
      elements[i].sources.add(static_cast<int>(static_cast<int64_t>(i) / D));
    }
  }

  const ReceiveDependences& receive_;
  std::vector<double> values_;
  std::vector<simt::SourceSet> sources_;
};

}  // namespace

void trace_dependences(const golden::ModelConfig& config, const golden::WeightSource& weights,
                       const Batch& batch, const ReceiveDependences& receive,
                       const ModelOptions& options) {
  if (batch.batch * batch.positions > simt::kMaxSources) {
    throw InputError(fmt::format("batch: dependences are traced for at most {} positions, got {}",
                                 simt::kMaxSources, batch.batch * batch.positions));
  }
  Tracer tracer(receive);
  make_model<simt::Tainted>(config, golden::Precision::fp64, weights, options)
      ->forward(batch, &tracer);
}

}  // namespace assay::cuda
