// Whole models for tests: inputs, weights, and every named tensor of a run.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/tensor.h"
#include "reference/interpreters/gradient.h"
#include "reference/interpreters/value.h"

namespace assay::reference::testing {

using golden::ModelConfig;
using golden::Tensor;
using Tensors = std::map<std::string, Tensor>;

// tokens, attention_mask, labels, each [B,T].
struct Inputs {
  int64_t batch = 0, positions = 0;
  std::vector<double> tokens, attention_mask, labels;
};

// Row b starts with `padding[b]` positions of padding (none where the list is too short), whose
// labels are -100; so is the label of every fifth token.
Inputs random_inputs(const ModelConfig& config, int64_t batch, int64_t positions, uint64_t seed,
                     const std::vector<int64_t>& padding = {});
// The listed rows, cut to the first `positions` positions.
Inputs select(const Inputs& inputs, const std::vector<int64_t>& rows, int64_t positions);

Tensors synthetic_weights(const ModelConfig& config, uint64_t seed);

// Weights at which every method's own part says nothing: the parameters of Params::initial, gates
// whose last matrix is 0, and C-base's factor exp(w) at 0.
Tensors transparent_weights(ModelConfig config, uint64_t seed);

// The graph with every detached tensor held at its value: what a detached method differentiates.
// Adds the values to `weights` under names of their own.
std::unique_ptr<Graph> hold_detached(const Graph& graph, const Tensors& values, Tensors& weights);

// Gives copies, so what they hold stays as it is.
Bindings bind_model(const Inputs& inputs, const Tensors& weights);

// Collects named tensors, and optionally replaces one on its way.
class Collector : public Observer {
 public:
  Array observe(const NodeData& node, Array value) override;

  Tensors tensors;
  std::vector<std::string> order;
  Tensors forced;  // given to later nodes instead of what was computed
};

class GradientCollector : public GradientObserver {
 public:
  void observe_gradient(const NodeData& node, const Array& gradient) override;

  Tensors gradients;
};

// Every named tensor of the config's method.
Tensors run_model(const ModelConfig& config, const Inputs& inputs, const Tensors& weights);

// A ragged configuration in which every extent that could be confused with another one differs:
// D=10, F=7, L layers, H=6, Hkv=3, Dh=4, V=11.
ModelConfig ragged_config(const std::string& method, int64_t layers = 3);

// The longest run that every_method()'s parameters are for.
inline constexpr int64_t kMostPositions = 65;

// The same sizes with the GPT-2 block and kMostPositions positions: pre-norm with the tanh form of
// GELU, post-norm with the exact one.
ModelConfig with_gpt2_block(ModelConfig config, golden::NormPosition norm);
// The Llama block with its options: norms of q and k, and biases in all projections of attention.
ModelConfig with_normed_heads(ModelConfig config);
// The plain model of the same block and sizes.
ModelConfig without_method(ModelConfig config);

// All methods on the Llama block, each with all its forms, residuals and with stored probabilities
// detached; on the GPT-2 block, pre-norm and post-norm, with the default form; and with normed
// heads, with the residual and attached besides: without a residual, norms of small vectors are too
// curved for differences.
std::vector<ModelConfig> every_method(int64_t layers = 3);
std::string title(const ModelConfig& config);

// The part of a tensor that speaks of the listed rows and the first `positions` positions.
Tensor slice(const Tensor& tensor, const std::string& axes, const std::vector<int64_t>& rows,
             int64_t positions);

}  // namespace assay::reference::testing
