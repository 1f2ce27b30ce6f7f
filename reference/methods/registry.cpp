#include "reference/methods/registry.h"

#include <fmt/format.h>

#include "golden/error.h"
#include "golden/names.h"
#include "reference/blocks/llama.h"
#include "reference/methods/recompute_mlp.h"
#include "reference/methods/score_accumulation.h"
#include "reference/prob_transformer/prob_transformer.h"

namespace assay::reference {
namespace {

Method make_method(const golden::ModelConfig& config) {
  if (config.detach_stored) throw InputError("detach_stored: the reference does not have it");
  if (config.method == "plain") return plain_method();
  if (config.method == "1") return recompute_mlp(config.residual);
  if (config.method == "5.1") return score_accumulation();
  throw InputError("--method " + config.method + ": the reference has plain, 1, 5.1");
}

}  // namespace

std::unique_ptr<Graph> build_model(const golden::ModelConfig& config, int64_t batch,
                                   int64_t positions) {
  golden::validate(config, "config");
  if (batch < 1 || positions < 1) {
    throw InputError(fmt::format("tokens: expected at least one row and one position, got [{},{}]",
                                 batch, positions));
  }
  golden::tensor_list(config, batch, positions);  // refuses positions without parameters
  if (golden::find_method(config.method).family == golden::Family::prob_transformer) {
    return build_prob_transformer(config, batch, positions);
  }
  return build_llama(config, make_method(config), batch, positions);
}

}  // namespace assay::reference
