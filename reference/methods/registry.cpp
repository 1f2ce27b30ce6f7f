#include "reference/methods/registry.h"

#include <fmt/format.h>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "reference/blocks/gpt2.h"
#include "reference/blocks/llama.h"
#include "reference/methods/dropout.h"
#include "reference/methods/recompute_attn.h"
#include "reference/methods/recompute_mlp.h"
#include "reference/methods/score_accumulation.h"
#include "reference/methods/score_factors.h"
#include "reference/ops/times.h"
#include "reference/prob_transformer/prob_transformer.h"

namespace assay::reference {
namespace {

Combine combine_of(const std::string& method) {
  if (method.ends_with(".1")) return Combine::mean;
  return method.ends_with(".2") ? Combine::learned_mean : Combine::sum;
}

Method make_method(const golden::ModelConfig& c) {
  const golden::MethodInfo& info = golden::find_method(c.method);
  switch (info.family) {
    case golden::Family::plain:
      return plain_method();
    case golden::Family::recompute_mlp:
      return recompute_mlp(combine_of(c.method), c.residual, c.detach_stored);
    case golden::Family::recompute_attn:
      if (c.method == "1-plan-a") return plan_a();
      if (c.method == "1-plan-b") return plan_b();
      return recompute_attn(combine_of(c.method), c.residual, c.detach_stored);
    case golden::Family::score_accumulation:
      return score_accumulation(c);
    case golden::Family::score_factors:
      return score_factors();
    case golden::Family::prob_transformer:
      break;  // has no block for a method to change
  }
  throw InternalError("method " + c.method + ": no such family");
}

// Y_l from O_l times its mask, X_{l+1} from U_l times its mask.
Method with_dropout(const Method& method) {
  const auto dropped = [](const Site& site, Node branch, const std::string& part) {
    const std::string name = "dropout/" + golden::layer_name(site.layer.index, part);
    const Node mask = branch.graph->input(name, branch.shape(), branch.data().result.axes);
    return named(site, times(branch, mask), part + "/dropped");
  };
  return {.scores = method.scores,
          .after_attention =
              [=](const Site& site, Node attn_out) {
                return method.after_attention(site, dropped(site, attn_out, "attn"));
              },
          .after_mlp =
              [=](const Site& site, Node y, Node mlp_out) {
                return method.after_mlp(site, y, dropped(site, mlp_out, "mlp"));
              }};
}

void check_model(const golden::ModelConfig& config, int64_t batch, int64_t positions) {
  golden::validate(config, "config");
  if (batch < 1 || positions < 1) {
    throw InputError(fmt::format("tokens: expected at least one row and one position, got [{},{}]",
                                 batch, positions));
  }
  golden::tensor_list(config, batch, positions);  // refuses positions without parameters
}

auto block_of(const golden::ModelConfig& config) {
  return config.block == golden::BlockKind::gpt2 ? build_gpt2 : build_llama;
}

}  // namespace

std::unique_ptr<Graph> build_model(const golden::ModelConfig& config, int64_t batch,
                                   int64_t positions) {
  check_model(config, batch, positions);
  if (golden::find_method(config.method).family == golden::Family::prob_transformer) {
    return build_prob_transformer(config, batch, positions);
  }
  return block_of(config)(config, make_method(config), batch, positions);
}

std::unique_ptr<Graph> build_with_dropout(const golden::ModelConfig& config, int64_t batch,
                                          int64_t positions) {
  check_model(config, batch, positions);
  if (golden::find_method(config.method).family == golden::Family::prob_transformer) {
    throw InputError("dropout: method pt has no residual branches: expected 0 with it");
  }
  return block_of(config)(config, with_dropout(make_method(config)), batch, positions);
}

}  // namespace assay::reference
