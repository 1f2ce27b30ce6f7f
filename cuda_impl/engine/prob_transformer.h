// The engine's Probabilistic Transformer (spec/methods.md section 5) on kernels that store their
// results as S: the rounds of mean-field inference, every option of golden/prob_transformer.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cuda_impl/engine/factor_weights.h"
#include "cuda_impl/engine/inference_buffers.h"
#include "cuda_impl/engine/model.h"
#include "cuda_impl/engine/operands.h"
#include "cuda_impl/engine/taps.h"
#include "golden/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
class InferenceBackward;

// Everything is allocated at the first forward pass of the largest shape; later passes only launch.
template <class S>
class ProbTransformer final : public Model {
 public:
  ProbTransformer(const golden::ModelConfig& config, golden::Precision precision,
                  const golden::WeightSource& weights);
  ~ProbTransformer() override;
  void forward(const Batch& batch, Probe* probe) override;
  double gradients(const Batch& batch, const ReceiveGradient& receive) override;
  std::unique_ptr<Decoder> decoder(int64_t sequences, int64_t capacity) override;
  golden::PrecisionSchedule precision() const override;

  int64_t allocations() const { return arena_.allocations() + matrix_arena_.allocations(); }

 private:
  using A = accum_t<S>;

  friend class InferenceBackward<S>;

  void run_forward(const Batch& batch, Probe* probe, bool keep);
  void prepare(const Batch& batch, bool keep);
  void start(Taps& taps);
  void round(int64_t n, Taps& taps);
  void project_labels(int64_t n, int64_t g, Taps& taps);
  void update_heads(int64_t n, int64_t g, Taps& taps);
  void send_message(int64_t n, int64_t g, int64_t m);
  void update_labels(int64_t n, int64_t m, View<const S, 2> sum, Taps& taps);
  void close(Taps& taps);

  // heads [B,K*C,T,r] of labels [N,D]
  void project(View<S, 4> heads, View<const S, 2> labels, View<const S, 2> by);
  void offer_heads(int64_t n, int64_t g, int64_t updates, Taps& taps);
  View<A, 4> matrix();  // [B,C,T,T], for a tap

  // The heads of group g after `updates` updates, of which the last one alone is looked at unless
  // the others matter (`history`).
  HeadOperands<S> heads_of(int64_t g, int64_t updates, bool history) const;
  // Those that its message in round n is sent with.
  HeadOperands<S> heads_heard(int64_t n, int64_t g) const {
    return heads_of(g, in_.updates_heard(n, g), in_.damped() || in_.stepped());
  }
  // What the output layer reads of label group m: [N,D].
  View<S, 2> read(int64_t m) {
    const int64_t last = in_.pt.iterations;
    return in_.reads_scores() ? buffers_.scores_of(last, m) : buffers_.states_of(last, m);
  }
  const Factors<S>& factors(int64_t group) const {
    return weights_.factors[static_cast<std::size_t>(group)];
  }

  // With several groups a tensor of one of them ends in its number.
  std::string head_tensor(const char* tensor, int64_t g) const {
    return golden::group_name(tensor, in_.pt.head_groups, g);
  }
  std::string label_tensor(const std::string& tensor, int64_t m) const {
    return golden::group_name(tensor, in_.pt.label_groups, m);
  }

  golden::ModelConfig config_;
  Inference in_;
  golden::Precision precision_;
  Operands operands_;       // of every product with a weight but linear_back, which reads floats
  Stream queue_ = nullptr;  // where everything is launched
  FactorWeights<S> weights_;
  Arena arena_, matrix_arena_;  // the second for [B,C,T,T], only if a probe ever wants one
  InferenceBuffers<S> buffers_;
  std::vector<golden::TensorInfo> list_;            // what a pass of the planned shape computes
  std::unique_ptr<InferenceBackward<S>> backward_;  // made by the first call of gradients
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
