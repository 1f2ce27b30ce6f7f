#include "cuda_impl/engine/interface/method.h"

#include <map>

#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

struct Scores {
  ScoreForm form;  // of gated scores: not read
  ScoreAxes axes;
};

// Of the methods that do not have the scores of the plain block.
Scores scores_of(const std::string& id) {
  using enum ScoreForm;
  static const std::map<std::string, Scores> scores{
      {"5.2", {root_of_layers, ScoreAxes::none}},
      {"5.3", {mean, ScoreAxes::none}},
      {"5.4", {powers, ScoreAxes::none}},
      {"5.5", {divided_root, ScoreAxes::none}},
      {"5.6", {divided_power, ScoreAxes::none}},
      {"5.7", {divisor, ScoreAxes::none}},
      {"5.8", {power, ScoreAxes::none}},
      {"5.1A", {exponential, ScoreAxes::both}},
      {"5.1B", {exponential, ScoreAxes::key}},
      {"5.1C", {exponential, ScoreAxes::query}},
      {"5.1D", {root, ScoreAxes::query}},
      {"5.1E", {root, ScoreAxes::key}},
      {"C-base", {exponential_plus_one, ScoreAxes::query}},
      {"D-base", {root, ScoreAxes::query}},
  };
  const auto found = scores.find(id);
  return found == scores.end() ? Scores{root, ScoreAxes::none} : found->second;
}

}  // namespace

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
  method.score_form = scores_of(id).form;
  method.score_axes = scores_of(id).axes;
  method.score_offset = id == "C-base";
  method.gated_scores = golden::find_method(id).takes("score_gate_eps");
  return method;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
