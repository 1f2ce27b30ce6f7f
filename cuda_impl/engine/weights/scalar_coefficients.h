// The coefficients c_{l,i} of methods 5.1 to 5.8 (spec/methods.md section 4), i = 0 .. l: one
// number for each layer whose scores are summed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cuda_impl/simt/backend.h"
#include "golden/contract/config.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// The learned parameters of a layer by their names below self_attn.score: "a", "b", "alpha", "z",
// "u".
using ScoreParameters = std::map<std::string, std::vector<double>>;

// How many c_i(b,t,s) the parameters of a layer give: m, m P^2 (5.1A), m P (5.1B, 5.1C), P
// (C-base).
int64_t coefficient_count(const golden::ModelConfig& config, int64_t layer);

std::vector<double> scalar_coefficients(const golden::ModelConfig& config, int64_t layer,
                                        const ScoreParameters& parameters);

// d parameters from dc [m].
ScoreParameters scalar_coefficients_gradient(const golden::ModelConfig& config, int64_t layer,
                                             const ScoreParameters& parameters,
                                             const std::vector<double>& dc);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
