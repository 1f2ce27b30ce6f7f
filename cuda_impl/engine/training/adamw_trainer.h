// The trainer of every engine: AdamW over one array of numbers for each weight.
#pragma once

#include <memory>
#include <vector>

#include "cuda_impl/engine/interface/trainer.h"
#include "cuda_impl/engine/training/trained_arrays.h"
#include "cuda_impl/kernels/backward.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Subject: what is trained, TrainedTransformer or TrainedMeanField, on kernels that store results
// as S = Subject::Scalar. Its arrays stand in the same order in all lists:
//   Numbers                 one accum_t<S> for each weight: masters or moments
//   numbers(source)         those of a source, by the weights' names
//   arrays(numbers)         where they stand
//   stored()                the weights as the kernels read them
//   clear_gradients()       the gradients, all 0, which keep their places
//   add_gradients(b, x, d)  adds to them x times those of batch b's mean loss, with dropout as at
//                           place d of the run, and forms loss() [1]
//   form_gradients()        what is still to be formed of them before a step
//   read_gradients(..)      to a caller, by the weights' names
//   follow(master)          what the kernels read beside stored(), from the masters after a step
//   read_back(numbers, ..)  to a caller, by the weights' names
//   bytes()                       of what passes and gradients take
//   label_shift()                 from a position to the label that it predicts
// Everything but the arrays of a pass is allocated at construction, those at the first micro-batch
// of the largest shape; later ones only launch. A step waits for the device once, for loss and
// norm.
template <class Subject>
class AdamwTrainer final : public Trainer {
 public:
  AdamwTrainer(const golden::ModelConfig& config, golden::Precision precision,
               const golden::WeightSource& weights, const TrainingOptions& options);
  void accumulate(const Batch& batch) override;
  StepReport step(double learning_rate) override;
  void read_gradients(const ReceiveTensor& receive) const override;
  void read_weights(const ReceiveTensor& receive) const override;
  void read_moments(const ReceiveTensor& first, const ReceiveTensor& second) const override;
  Progress progress() const override { return progress_; }
  std::size_t bytes() const override { return subject_.bytes(); }
  void restore(const Progress& progress, const golden::WeightSource& first,
               const golden::WeightSource& second) override;

  int64_t allocations() const { return subject_.allocations(); }

 private:
  using S = typename Subject::Scalar;
  using A = accum_t<S>;
  using Numbers = typename Subject::Numbers;

  // What one launch of the optimizer reads and writes.
  struct Trained {
    View<S, 1> stored;
    AdamwState<A> state;
    View<A, 1> gradient;
    bool decays;
  };

  void list_trained();
  void fill_norm_tables();
  void clear();
  double gradient_scale() const;  // what the sums are multiplied by
  void update(double learning_rate, double gradient_scale);
  void step_epilogue(bool skipped);

  const TrainingOptions options_;
  Subject subject_;
  const Stream queue_;
  Numbers master_, first_, second_;
  std::vector<FlatArray<A>> gradients_;
  std::vector<Trained> trained_;
  bool scales_loss_;
  Progress progress_;

  // Of the micro-batches since the last step. Their gradients are sums over counted positions,
  // divided by one number for all of them: the positions that the first of them counts.
  int64_t counted_ = 0, divisor_ = 0;
  int64_t rows_ = 0;  // of all of them, whether they count or not

  simt::Buffer<A> report_;  // [2]: the sum of the losses of counted positions, the stored norm
  simt::Buffer<const A*> norm_arrays_;
  simt::Buffer<int64_t> norm_sizes_;
  simt::Buffer<A> norm_parts_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
