#include "cuda_impl/engine/weights/score_coefficients.h"

#include <cmath>

#include "cuda_impl/engine/memory/convert.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

constexpr char kPrefix[] = "self_attn.score.";

// The learned parameters of one layer's scores but for a gate's, rounded to S.
template <class S>
ScoreParameters read_parameters(const golden::ModelConfig& config, int64_t layer,
                                const golden::WeightSource& source) {
  ScoreParameters parameters;
  for (const golden::LearnedWeight& learned : golden::learned_weights(config, layer)) {
    const std::string& suffix = learned.parameter.suffix;
    if (!suffix.starts_with(kPrefix) || suffix.find(".gate.") != std::string::npos) continue;
    std::vector<double> values(static_cast<std::size_t>(golden::element_count(learned.info.shape)));
    source.read(learned.info.name, values);
    for (double& value : values) value = widen(narrow<S>(value));
    parameters[suffix.substr(sizeof kPrefix - 1)] = std::move(values);
  }
  return parameters;
}

}  // namespace

template <class S>
ScoreCoefficients<S>::ScoreCoefficients(const golden::ModelConfig& config, const Method& method,
                                        const golden::WeightSource& weights)
    : config_(config), method_(method) {
  form(weights, nullptr);
}

template <class S>
void ScoreCoefficients<S>::form(const golden::WeightSource& weights, Stream stream) {
  const ScoreForm form = method_.score_form;
  const double root = std::sqrt(static_cast<double>(config_.head_dim));
  const double added = form == ScoreForm::exponential_plus_one ? 1 : 0;
  std::vector<A> all;
  tables_.clear();
  parameters_.clear();
  for (int64_t l = 0; l < config_.num_hidden_layers; ++l) {
    ScoreParameters learned = read_parameters<S>(config_, l, weights);
    Table table{.first = all.size(), .strides = strides()};
    std::vector<double> values;
    if (method_.gated_scores) {
      values = {1 / root};
    } else if (method_.score_axes == ScoreAxes::none) {
      values = scalar_coefficients(method_, config_.head_dim, l, learned);
    } else {
      for (const double w : learned.at("w")) values.push_back((std::exp(w) + added) / root);
    }
    if (method_.score_offset) {
      table.offset = table.first + values.size();
      values.insert(values.end(), learned.at("c").begin(), learned.at("c").end());
    }
    for (const double value : values) all.push_back(static_cast<A>(value));
    tables_.push_back(table);
    parameters_.push_back(std::move(learned));
  }
  if (memory_.size() == 0) memory_ = simt::Buffer<A>(all.size());
  simt::copy_in(memory_.get(), all.data(), memory_.size_bytes(), stream);
}

template <class S>
Coefficients<accum_t<S>> ScoreCoefficients<S>::strides() const {
  const int64_t P = golden::score_positions_of(config_);
  switch (method_.score_axes) {
    case ScoreAxes::both:
      return {.layer = P * P, .query = P, .key = 1};
    case ScoreAxes::query:
      return {.layer = P, .query = 1};
    case ScoreAxes::key:
      return {.layer = P, .key = 1};
    default:
      return {.layer = 1};
  }
}

template <class S>
Coefficients<accum_t<S>> ScoreCoefficients<S>::of(int64_t layer) const {
  const Table& table = tables_[static_cast<std::size_t>(layer)];
  Coefficients<A> result = table.strides;
  result.data = memory_.get() + table.first;
  return result;
}

template <class S>
const accum_t<S>* ScoreCoefficients<S>::offset_of(int64_t layer) const {
  return method_.score_offset ? memory_.get() + tables_[static_cast<std::size_t>(layer)].offset
                              : nullptr;
}

template <class S>
ScoreParameters ScoreCoefficients<S>::parameter_gradients(int64_t layer,
                                                          const std::vector<double>& dc) const {
  const ScoreParameters& learned = parameters_[static_cast<std::size_t>(layer)];
  if (method_.score_axes == ScoreAxes::none) {
    return scalar_coefficients_gradient(method_, config_.head_dim, layer, learned, dc);
  }
  const double root = std::sqrt(static_cast<double>(config_.head_dim));
  ScoreParameters gradient;
  for (const auto& [name, values] : learned) {
    std::vector<double>& d = gradient[name];
    for (std::size_t i = 0; i < values.size(); ++i) {
      d.push_back(name == "c" ? 0.0 : dc[i] * std::exp(values[i]) / root);
    }
  }
  return gradient;
}

#define ASSAY_INSTANTIATE(S) template class ScoreCoefficients<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
