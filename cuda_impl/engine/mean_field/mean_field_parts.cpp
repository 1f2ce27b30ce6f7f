#include "cuda_impl/engine/mean_field/mean_field_parts.h"

#include <fmt/format.h>

#include "golden/contract/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {
namespace {

const golden::ModelConfig& checked(const golden::ModelConfig& config) {
  golden::validate(config, "model");
  if (const int64_t rank = golden::prob_transformer_of(config).rank; rank > kMaxHeadSize) {
    throw InputError(
        fmt::format("model: pt: rank: the kernels hold at most {}, got {}", kMaxHeadSize, rank));
  }
  return config;
}

}  // namespace

template <class S>
MeanFieldParts<S>::MeanFieldParts(const golden::ModelConfig& c, golden::Precision p,
                                  const golden::WeightSource& source, const ModelOptions& asked)
    : config(checked(c)),
      schedule(c),
      precision(p),
      options(asked),
      operands(operands_of(p)),
      weights(c, source) {}

#define ASSAY_INSTANTIATE(S) template struct MeanFieldParts<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
