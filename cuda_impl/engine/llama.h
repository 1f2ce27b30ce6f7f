// The engine: the LLaMA block of spec/methods.md section 2 with methods plain, 1 and 5.1, on
// kernels that store their results as S.
#pragma once

#include <string>
#include <vector>

#include "cuda_impl/engine/arena.h"
#include "cuda_impl/engine/buffers.h"
#include "cuda_impl/engine/method.h"
#include "cuda_impl/engine/model.h"
#include "cuda_impl/engine/taps.h"
#include "cuda_impl/engine/weights.h"
#include "golden/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Everything is allocated at the first forward pass of the largest shape; later passes only launch.
template <class S>
class Llama final : public Model {
 public:
  Llama(const golden::ModelConfig& config, golden::Precision precision,
        const golden::WeightSource& weights);
  void forward(const Batch& batch, Probe* probe) override;
  golden::PrecisionSchedule precision() const override;

  int64_t allocations() const { return arena_.allocations() + matrix_arena_.allocations(); }

 private:
  void prepare(const Batch& batch);
  void attend(int64_t l, Taps& taps);
  void run_mlp(int64_t l, Taps& taps);
  void run_again(int64_t l, int64_t j, Taps& taps);
  void close_layer(int64_t l, Taps& taps);
  void close(Taps& taps);

  View<S, 2> stream_into(int64_t l) { return buffers_.stream[l % 2]; }  // X_l [N,D]
  // What layer l attends with: its own q and k, or in method 5.1 those of layers 0 .. l.
  ScoreOperands<S> scores_of(int64_t l) const;
  void project_values(View<S, 2> normed, const LayerWeights<S>& layer);
  View<accum_t<S>, 4> matrix();  // [B,H,T,T], for a tap

  golden::ModelConfig config_;
  Method method_;
  golden::Precision precision_;
  Stream queue_ = nullptr;  // where everything is launched
  Weights<S> weights_;
  Arena arena_, matrix_arena_;  // the second for [B,H,T,T], only if a probe ever wants one
  Buffers<S> buffers_;
  std::vector<golden::TensorInfo> list_;  // what a pass of the planned shape computes
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
