// The trainer of the Llama and the GPT-2 block with every method of theirs.
#pragma once

#include <memory>
#include <vector>

#include "cuda_impl/engine/backward.h"
#include "cuda_impl/engine/learned_arrays.h"
#include "cuda_impl/engine/trainer.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Everything but the arrays of a pass is allocated at construction, those at the first micro-batch of
// the largest shape; later ones only launch. A step waits for the device once, for loss and norm; a method
// that learns parameters other than gates waits for each of them too: their gradients, and after the
// step the coefficients that the kernels read, are formed on the host.
template <class S>
class TransformerTrainer final : public Trainer {
 public:
  TransformerTrainer(const golden::ModelConfig& config, golden::Precision precision,
                     const golden::WeightSource& weights, const TrainingOptions& options);
  void accumulate(const Batch& batch) override;
  StepReport step(double learning_rate) override;
  void read_weights(const ReceiveTensor& receive) const override;
  void read_moments(const ReceiveTensor& first, const ReceiveTensor& second) const override;
  Progress progress() const override { return progress_; }
  void restore(const Progress& progress, const golden::WeightSource& first,
               const golden::WeightSource& second) override;

  int64_t allocations() const { return pass_.allocations() + backward_.allocations(); }

 private:
  using A = accum_t<S>;

  // One number for each weight.
  struct Numbers {
    Weights<A> weights;
    LearnedArrays<A> learned;
  };
  // What one launch of the optimizer reads and writes.
  struct Trained {
    View<S, 1> stored;  // null: the kernels read something else that is formed from the master
    AdamwState<A> state;
    View<A, 1> gradient;
    bool decays;
  };

  Numbers numbers(const golden::WeightSource& source) const;
  void hand_over_all(const Numbers& numbers, const ReceiveTensor& receive) const;
  void list_trained();
  void fill_norm_tables();
  void clear();
  void form_learned_gradients();
  void update(double learning_rate, double gradient_scale);
  void close_step(bool skipped);

  const TrainingOptions options_;
  std::shared_ptr<Parts<S>> parts_;
  const Stream queue_;
  ForwardPass<S> pass_;
  Backward<S> backward_;
  Numbers master_, first_, second_;
  LearnedArrays<A> learned_gradients_;
  const WeightGradients<A>* gradients_ = nullptr;
  std::vector<Trained> trained_;
  bool scales_loss_;
  Progress progress_;

  // Of the micro-batches since the last step. Their gradients are sums over counted positions, divided by
  // one number for all of them: the positions that the first of them counts.
  int64_t counted_ = 0, divisor_ = 0;

  simt::Buffer<A> report_;  // [2]: the sum of the losses of counted positions, the stored norm
  simt::Buffer<const A*> norm_arrays_;
  simt::Buffer<int64_t> norm_sizes_;
  simt::Buffer<A> norm_parts_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
