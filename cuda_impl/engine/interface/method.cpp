#include "cuda_impl/engine/interface/method.h"

#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

Method parse_method(const golden::ModelConfig& config) {
  using golden::Family;
  const std::string& id = config.method;
  Method method;
  method.family = golden::find_method(id, "method").family;
  ASSAY_CHECK(method.family != Family::prob_transformer, "another engine's method: " + id);
  if (id == "3.1" || id == "4.1") method.combine = Combine::mean;
  if (id == "3.2" || id == "4.2") method.combine = Combine::learned_mean;
  method.keep_residual = config.residual == golden::Residual::keep;
  method.keep_own = method.combine == Combine::sum && id != "1-plan-a";
  method.detach_stored = config.detach_stored || id == "1-plan-b";
  method.all_layers_score = method.family == Family::score_accumulation ||
                            (method.family == Family::score_factors && id.starts_with("5.1"));
  method.gated_scores = golden::find_method(id).takes("score_gate_eps");
  return method;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
