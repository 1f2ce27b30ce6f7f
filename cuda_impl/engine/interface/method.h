// What a method asks of the engine beyond the plain block.
#pragma once

#include "cuda_impl/simt/backend.h"
#include "golden/contract/config.h"
#include "golden/contract/methods.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// How earlier layers' outputs, run again, and the layer's own become one term (spec/methods.md
// section 3):
//   sum           sum_{j<l} recompute_j                     the own output is another term
//   mean          (own + sum_{j<l} recompute_j) / m
//   learned_mean  sum_{j<l} w_j recompute_j + w_l own,  w = softmax(theta_l)
enum class Combine { sum, mean, learned_mean };

struct Method {
  golden::Family family = golden::Family::plain;
  Combine combine = Combine::sum;
  bool keep_residual = true;  // X_l (at the attention) or Y_l (at the MLP) stays in the sum, l >= 1
  bool keep_own = true;       // with Combine::sum: the layer's own output too
  bool detach_stored = false;     // stored probabilities are constants for gradients
  bool all_layers_score = false;  // scores of layers 0 .. l, not of l alone
  bool gated_scores = false;      // their coefficients are computed from the batch: score_gate

  bool recomputes_mlp() const { return family == golden::Family::recompute_mlp; }
  bool recomputes_attention() const { return family == golden::Family::recompute_attn; }
  bool learns_scores() const {
    return family == golden::Family::score_accumulation || family == golden::Family::score_factors;
  }
  bool recomputes() const { return recomputes_mlp() || recomputes_attention(); }
};

// Of any method but `pt`, which has an engine of its own (prob_transformer.h).
Method parse_method(const golden::ModelConfig& config);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
