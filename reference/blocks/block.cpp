#include "reference/blocks/block.h"

#include <cmath>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "reference/ops/add.h"
#include "reference/ops/dynamic_mask.h"
#include "reference/ops/mask.h"
#include "reference/ops/scale.h"

namespace assay::reference {

Method plain_method() {
  return {.scores =
              [](const Site& site) {
                const auto head_dim = static_cast<double>(site.config.head_dim);
                return scale(site.layer.raw_scores, 1.0 / std::sqrt(head_dim));
              },
          .after_attention = [](const Site& site, Node attn_out) { return site.stream + attn_out; },
          .after_mlp = [](const Site&, Node y, Node mlp_out) { return y + mlp_out; }};
}

Node masked_scores(const Site& site, const Method& method, Node attention_mask) {
  const int64_t window = golden::window_of(site.config, site.layer.index);
  if (golden::has_dynamic_window(site.config, site.layer.index)) {
    const WindowRange range{site.config.window_min, window, site.config.sink_tokens};
    const Node strengths = window_strengths(site.layer.raw_scores, attention_mask, range);
    const Node sizes = named(site, window_sizes(strengths, range), "attn/window");  // [B,T]
    return causal_mask(method.scores(site), attention_mask, sizes, range);
  }
  const KeyWindow keys{.window = window, .sinks = window == 0 ? 0 : site.config.sink_tokens};
  return causal_mask(method.scores(site), attention_mask, keys);
}

Node named(const Site& site, Node node, const std::string& tensor) {
  return node.graph->name(node, golden::layer_name(site.layer.index, tensor));
}

Node learned(const Site& site, const std::string& suffix) {
  for (const auto& weight : golden::learned_weights(site.config, site.layer.index)) {
    if (weight.parameter.suffix != suffix) continue;
    return site.stream.graph->weight(weight.info.name, weight.info.shape);
  }
  throw InternalError("method " + site.config.method + " does not learn " + suffix);
}

}  // namespace assay::reference
