#include "cuda_impl/engine/weights/parts.h"

#include <fmt/format.h>

#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

const golden::ModelConfig& checked(const golden::ModelConfig& config) {
  golden::validate(config, "model");
  const auto at_most = [](const char* key, int64_t value, int64_t most) {
    if (value <= most) return;
    throw InputError(
        fmt::format("model: {}: the kernels hold at most {}, got {}", key, most, value));
  };
  at_most("head_dim", config.head_dim, kMaxHeadSize);
  if (parse_method(config).gated_scores) {
    at_most("num_hidden_layers", config.num_hidden_layers, kMaxGate);
  }
  return config;
}

// Both read the A_j of all earlier layers side by side.
void check_kept(const golden::ModelConfig& config, const ModelOptions& options) {
  if (options.keep != Keep::inputs || !parse_method(config).recomputes()) return;
  const char* with = options.recompute == Recompute::stacked ? "stacked recomputes"
                     : options.stored_bytes > 0              ? "stored probabilities"
                                                             : nullptr;
  if (with == nullptr) return;
  throw InputError(fmt::format(
      "model: keep: {} read A_j of all earlier layers at once: expected all or shared with them, "
      "got inputs",
      with));
}

// A single layer has no earlier ones.
bool stacks(const golden::ModelConfig& config, const ModelOptions& options) {
  return options.recompute == Recompute::stacked && config.num_hidden_layers > 1 &&
         parse_method(config).recomputes();
}

// One launch replays layers that share a window.
void check_stacked(const golden::ModelConfig& config, const ModelOptions& options) {
  if (config.window_kind != golden::WindowKind::dynamic || !stacks(config, options)) return;
  throw Unsupported(
      "model: stacked recomputes: dynamic windows are of each layer: expected recomputes one after "
      "the other with them, which another subject than stacked has");
}

}  // namespace

template <class S>
Parts<S>::Parts(const golden::ModelConfig& c, golden::Precision p,
                const golden::WeightSource& source, const ModelOptions& o)
    : config(checked(c)),
      method(parse_method(c)),
      precision(p),
      operands(operands_of(p)),
      options(o),
      weights(c, source),
      score_coefficients(c, method, source),
      mix(c, method, source),
      stacked(stacks(c, o) ? std::make_unique<StackedWeights<S>>(c, method, weights, queue)
                           : nullptr) {
  check_kept(c, o);
  check_stacked(c, o);
}

#define ASSAY_INSTANTIATE(S) template struct Parts<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
