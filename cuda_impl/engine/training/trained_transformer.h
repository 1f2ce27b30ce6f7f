// The Llama and the GPT-2 block with every method of theirs, as AdamwTrainer trains them.
#pragma once

#include <memory>
#include <vector>

#include "cuda_impl/engine/blocks/backward.h"
#include "cuda_impl/engine/interface/trainer.h"
#include "cuda_impl/engine/training/trained_arrays.h"
#include "cuda_impl/engine/weights/learned_arrays.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// A method that learns parameters other than gates waits for the device in form_gradients and in
// follow:
// their gradients, and the coefficients that the kernels read, are formed on the host.
template <class S>
class TrainedTransformer {
 public:
  using Scalar = S;
  using A = accum_t<S>;
  struct Numbers {
    Weights<A> weights;
    LearnedArrays<A> learned;
  };

  TrainedTransformer(const golden::ModelConfig& config, golden::Precision precision,
                     const golden::WeightSource& weights, const TrainingOptions& options);

  const golden::ModelConfig& config() const { return parts_->config; }
  Stream queue() const { return parts_->queue; }
  int label_shift() const { return 1; }
  int64_t allocations() const { return pass_.allocations() + backward_.allocations(); }
  std::size_t bytes() const { return pass_.bytes() + backward_.bytes(); }

  Numbers numbers(const golden::WeightSource& source) const;
  std::vector<FlatArray<A>> arrays(Numbers& numbers) const;
  std::vector<FlatArray<S>> stored() const;
  std::vector<FlatArray<A>> clear_gradients();

  void add_gradients(const Batch& batch, double scale, const DropoutPlace& dropout);
  View<const A, 1> loss() const { return backward_.loss(); }
  void form_gradients();
  void follow(const Numbers& master);
  void read_gradients(const ReceiveTensor& receive) const;
  void read_back(const Numbers& numbers, const ReceiveTensor& receive) const;

 private:
  std::shared_ptr<Parts<S>> parts_;
  ForwardPass<S> pass_;
  Backward<S> backward_;
  LearnedArrays<A> learned_gradients_;
  const WeightGradients<A>* gradients_ = nullptr;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
