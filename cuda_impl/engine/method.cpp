#include "cuda_impl/engine/method.h"

#include <fmt/format.h>

#include "golden/error.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

Method parse_method(const golden::ModelConfig& config) {
  if (config.block != golden::BlockKind::llama) {
    throw InputError(fmt::format("block {}: the engine has no kernels for it; it has llama",
                                 golden::block_name(config.block)));
  }
  const std::string& method = config.method;
  if (method == "plain") return Method::plain;
  if (method == "1") return Method::recompute_mlp;
  if (method == "5.1") return Method::cumulative_scores;
  throw Unsupported(
      fmt::format("method {}: the engine has no kernels for it; it has plain, 1, 5.1", method));
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
