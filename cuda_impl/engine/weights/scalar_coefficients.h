// The coefficients c_{l,i} of scores that depend on no position (ScoreForm): one number for each
// layer i whose scores are summed in layer l.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cuda_impl/engine/interface/method.h"
#include "cuda_impl/simt/backend.h"
#include "golden/contract/config.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// The learned parameters of a layer by their names below self_attn.score: "a", "b", "alpha", "z",
// "u".
using ScoreParameters = std::map<std::string, std::vector<double>>;

// How many c_i(b,t,s) the parameters of a layer give: one for each layer whose scores are summed,
// and P = score_positions times as many for each position that they depend on.
int64_t coefficient_count(const golden::ModelConfig& config, const Method& method, int64_t layer);

// For head size Dh. Not for ScoreForm::exponential and exponential_plus_one.
std::vector<double> scalar_coefficients(const Method& method, int64_t Dh, int64_t layer,
                                        const ScoreParameters& parameters);

// d parameters from dc, one for each coefficient.
ScoreParameters scalar_coefficients_gradient(const Method& method, int64_t Dh, int64_t layer,
                                             const ScoreParameters& parameters,
                                             const std::vector<double>& dc);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
