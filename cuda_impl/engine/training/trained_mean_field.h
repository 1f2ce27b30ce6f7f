// The Probabilistic Transformer as AdamwTrainer trains it. All that it learns are matrices, which
// the kernels read as they are stored.
#pragma once

#include <memory>
#include <vector>

#include "cuda_impl/engine/blocks/dropout_masks.h"
#include "cuda_impl/engine/interface/trainer.h"
#include "cuda_impl/engine/mean_field/mean_field_backward.h"
#include "cuda_impl/engine/training/trained_arrays.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
class TrainedMeanField {
 public:
  using Scalar = S;
  using A = accum_t<S>;
  using Numbers = FactorWeights<A>;

  // Throws InputError for dropout: it has no residual branches.
  TrainedMeanField(const golden::ModelConfig& config, golden::Precision precision,
                   const golden::WeightSource& weights, const TrainingOptions& options);

  const golden::ModelConfig& config() const { return parts_->config; }
  Stream queue() const { return parts_->queue; }
  int label_shift() const { return parts_->schedule.label_shift(); }
  int64_t allocations() const { return pass_.allocations() + backward_.allocations(); }
  std::size_t bytes() const { return pass_.bytes() + backward_.bytes(); }

  Numbers numbers(const golden::WeightSource& source) const { return {config(), source}; }
  std::vector<FlatArray<A>> arrays(Numbers& numbers) const;
  std::vector<FlatArray<S>> stored() const;
  std::vector<FlatArray<A>> clear_gradients();

  void add_gradients(const Batch& batch, double scale, const DropoutPlace&);
  View<const A, 1> loss() const { return backward_.loss(); }
  void form_gradients() {}
  void follow(const Numbers&) {}
  void read_gradients(const ReceiveTensor& receive) const;
  void read_back(const Numbers& numbers, const ReceiveTensor& receive) const;

 private:
  std::shared_ptr<MeanFieldParts<S>> parts_;
  MeanFieldPass<S> pass_;
  MeanFieldBackward<S> backward_;
  const FactorArrays<A>* gradients_ = nullptr;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
