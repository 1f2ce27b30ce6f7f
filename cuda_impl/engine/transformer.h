// The engine: the Llama and the GPT-2 block with the methods of spec/methods.md sections 3 and 4, on
// kernels that store their results as S. The Probabilistic Transformer has one of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cuda_impl/engine/arena.h"
#include "cuda_impl/engine/buffers.h"
#include "cuda_impl/engine/method.h"
#include "cuda_impl/engine/mix.h"
#include "cuda_impl/engine/model.h"
#include "cuda_impl/engine/score_coefficients.h"
#include "cuda_impl/engine/taps.h"
#include "cuda_impl/engine/weights.h"
#include "golden/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
class Backward;

// Everything is allocated at the first forward pass of the largest shape; later passes only launch.
template <class S>
class Transformer final : public Model {
 public:
  Transformer(const golden::ModelConfig& config, golden::Precision precision,
              const golden::WeightSource& weights);
  ~Transformer() override;
  void forward(const Batch& batch, Probe* probe) override;
  double gradients(const Batch& batch, const ReceiveGradient& receive) override;
  golden::PrecisionSchedule precision() const override;

  int64_t allocations() const { return arena_.allocations() + matrix_arena_.allocations(); }

 private:
  using A = accum_t<S>;

  friend class Backward<S>;

  void run_forward(const Batch& batch, Probe* probe, bool keep);
  void prepare(const Batch& batch, bool keep);
  void attend(int64_t l, Taps& taps);
  void project(int64_t l, View<const S, 2> input, Taps& taps);
  void form_score_factors(int64_t l, View<const S, 2> input);
  void add_attention(int64_t l, Taps& taps);
  void run_mlp(int64_t l, Taps& taps);
  void attention_again(int64_t l, int64_t j, View<S, 2> out, Taps& taps);
  void mlp_again(int64_t l, int64_t j, Taps& taps);
  void close_layer(int64_t l, Taps& taps);
  void close(Taps& taps);

  bool pre_norm() const { return config_.norm == golden::NormPosition::pre; }
  // Of the tensor that the MLP reads: its norm stands behind the attention's residual.
  const char* mlp_input_name() const { return pre_norm() ? "mlp_norm" : "attn_norm"; }
  bool llama() const { return config_.block == golden::BlockKind::llama; }
  const LayerWeights<S>& layer(int64_t l) const {
    return weights_.layers[static_cast<std::size_t>(l)];
  }
  View<S, 2> again(int64_t j) { return buffers_.again[static_cast<std::size_t>(j)]; }
  View<S, 2> stream(int64_t l) { return at(buffers_.stream, l); }  // X_l [N,D]

  // y = norm(x), or with an addend norm(x + addend): RMSNorm or LayerNorm as the block has it.
  void norm(View<S, 2> y, View<const S, 2> x, View<const S, 2> addend, const Norm<S>& by);
  template <class Out>
  void linear(View<Out, 2> y, View<const S, 2> x, const Affine<S>& by) {
    product<S>(y, x, by.weight, by.bias, queue_);
  }
  // heads [B,H,T,Dh] of x [N,D], rotated or not
  void project_heads(View<S, 4> heads, View<const S, 2> x, const Affine<S>& by, bool rotate);
  // sum = the terms that a method adds at its site; own is the layer's own output.
  void combine(int64_t l, View<const S, 2> own);
  // y = that sum, with the residual and the layer's own output where the method keeps them
  void add_sum(View<S, 2> y, View<const S, 2> residual, View<const S, 2> own);

  // What layer l attends with: its own q and k, or those of layers 0 .. l.
  ScoreOperands<S> scores_of(int64_t l) const;
  Coefficients<A> gate_coefficients(int64_t l) const;
  View<A, 4> matrix();  // [B,H,T,T], for a tap

  golden::ModelConfig config_;
  Method method_;
  golden::Precision precision_;
  Stream queue_ = nullptr;  // where everything is launched
  Weights<S> weights_;
  ScoreCoefficients<S> score_coefficients_;
  Mix<S> mix_;
  Arena arena_, matrix_arena_;  // the second for [B,H,T,T], only if a probe ever wants one
  Buffers<S> buffers_;
  std::vector<golden::TensorInfo> list_;   // what a pass of the planned shape computes
  std::unique_ptr<Backward<S>> backward_;  // made by the first call of gradients
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
