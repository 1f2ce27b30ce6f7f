// What a method asks of the engine beyond the plain block.
#pragma once

#include "cuda_impl/simt/backend.h"
#include "golden/contract/config.h"
#include "golden/contract/methods.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// How earlier layers' outputs, run again, and the layer's own become one term (docs/methods.md):
//   sum           sum_{j<l} recompute_j                     the own output is another term
//   mean          (own + sum_{j<l} recompute_j) / m
//   learned_mean  sum_{j<l} w_j recompute_j + w_l own,  w = softmax(theta_l)
enum class Combine { sum, mean, learned_mean };

// How a coefficient c_i of the scores of layer i is formed in layer l, with root = sqrt(Dh),
// m = l + 1 and parameters a, b, u, w, z, alpha that are learned.
enum class ScoreForm {
  root,                 // 1 / root
  root_of_layers,       // 1 / sqrt(Dh m)
  mean,                 // 1 / (m root)
  power,                // 1 / Dh^a
  powers,               // 1 / (Dh^a m^b)
  divided_root,         // 1 / (a_i root), a_i or exp(alpha_i); or m softmax(z)_i / root
  divided_power,        // 1 / (a_i Dh^(b_i)), a_i or exp(u_i)
  divisor,              // 1 / a_i, a_i or exp(u_i)
  exponential,          // exp(w) / root
  exponential_plus_one  // (exp(w) + 1) / root
};

// Which positions c_i depends on.
enum class ScoreAxes { none, query, key, both };

struct Method {
  golden::Family family = golden::Family::plain;
  Combine combine = Combine::sum;
  bool keep_residual = true;  // X_l (at the attention) or Y_l (at the MLP) stays in the sum, l >= 1
  bool keep_own = true;       // with Combine::sum: the layer's own output too
  bool detach_stored = false;              // stored probabilities are constants for gradients
  bool all_layers_score = false;           // scores of layers 0 .. l, not of l alone
  ScoreForm score_form = ScoreForm::root;  // unless they are gated
  ScoreAxes score_axes = ScoreAxes::none;
  bool gated_scores = false;  // their coefficients are computed from the batch: score_gate
  bool score_offset = false;  // a learned c[t] is added to a query's scores

  bool recomputes_mlp() const { return family == golden::Family::recompute_mlp; }
  bool recomputes_attention() const { return family == golden::Family::recompute_attn; }
  bool learns_scores() const {
    return family == golden::Family::score_accumulation || family == golden::Family::score_factors;
  }
  bool recomputes() const { return recomputes_mlp() || recomputes_attention(); }
  // How many layers' scores are summed in layer l.
  int64_t score_terms(int64_t l) const { return all_layers_score ? l + 1 : 1; }
};

// Of any method but `pt`, which has an engine of its own (prob_transformer.h). Nothing else in the
// engine asks for a method by its id.
Method parse_method(const golden::ModelConfig& config);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
