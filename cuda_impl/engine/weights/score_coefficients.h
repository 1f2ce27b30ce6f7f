// The coefficients c_i(b,t,s) of the scores that a layer attends with (docs/methods.md).
#pragma once

#include <vector>

#include "cuda_impl/engine/weights/scalar_coefficients.h"
#include "cuda_impl/kernels/kernels.h"
#include "golden/contract/config.h"
#include "golden/contract/weights.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Those that depend on parameters alone, in device memory from construction on. A learned parameter
// is rounded to S, as every weight; what is computed from it is rounded to accum_t<S> once.
// Not for gated scores, whose coefficients a kernel computes from the batch (score_gate).
// Memory: coefficient_count scalars a layer, P more with an offset.
template <class S>
class ScoreCoefficients {
 public:
  using A = accum_t<S>;
  ScoreCoefficients(const golden::ModelConfig& config, const Method& method,
                    const golden::WeightSource& weights);
  // Again, from other parameters, in the same memory.
  void form(const golden::WeightSource& weights, Stream stream);

  Coefficients<A> of(int64_t layer) const;
  const A* offset_of(int64_t layer) const;  // [P]; null: none

  // The gradients of the layer's learned parameters but a gate's, from those of the coefficients in
  // their own layout. An offset's is 0: it is constant along a row, and the softmax takes it off.
  ScoreParameters parameter_gradients(int64_t layer, const std::vector<double>& dc) const;

 private:
  Coefficients<A> strides() const;  // data null

  struct Table {
    std::size_t first = 0;    // of its values in memory_
    Coefficients<A> strides;  // data null
    std::size_t offset = 0;   // first of its offsets
  };
  golden::ModelConfig config_;
  Method method_;
  std::vector<ScoreParameters> parameters_;  // [L]
  std::vector<Table> tables_;                // [L]
  simt::Buffer<A> memory_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
