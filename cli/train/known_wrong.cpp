#include "cli/train/known_wrong.h"

#include <fmt/format.h>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "reference/graph/op.h"
#include "reference/graph/rewrite.h"
#include "reference/methods/registry.h"
#include "reference/ops/add.h"
#include "reference/ops/attend.h"
#include "reference/ops/dynamic_mask.h"
#include "reference/ops/mask.h"
#include "reference/ops/softmax.h"

namespace assay::cli {
namespace {

using reference::Node;
using reference::NodeData;
using reference::Rewriting;
using Replaced = std::optional<Node>;

Replaced without_mask(Rewriting&, const NodeData& node, const std::vector<Node>& inputs) {
  if (node.op->name() != "causal_mask") return std::nullopt;
  return reference::sum({inputs[0]});
}

// `scores`, masked as those that the stored probabilities were formed of.
Node masked_again(Rewriting& rewriting, int id, Node scores) {
  const Node mask = rewriting.of("attention_mask");
  const reference::Graph& graph = rewriting.original();
  for (; graph.node(id).op != nullptr; id = graph.node(id).inputs.at(0)) {
    const NodeData& node = graph.node(id);
    if (const auto* keys = reference::key_window_of(*node.op)) {
      return reference::causal_mask(scores, mask, *keys);
    }
    if (const auto* range = reference::window_range_of(*node.op)) {
      return reference::causal_mask(scores, mask, rewriting.of(node.inputs.at(2)), *range);
    }
  }
  throw InternalError(graph.describe(id) + ": probabilities without a mask");
}

Replaced softmax_again(Rewriting& rewriting, const NodeData& node,
                       const std::vector<Node>& inputs) {
  if (!golden::matches("layers/*/recompute/*/context", node.name)) return std::nullopt;
  const Node masked = masked_again(rewriting, node.inputs[0], inputs[0]);
  return reference::attend(reference::softmax(masked), inputs[1]);
}

}  // namespace

const std::vector<std::string>& known_wrong_names() {
  static const std::vector<std::string> kNames{"lost-mask", "re-softmax"};
  return kNames;
}

std::unique_ptr<reference::Graph> build_known_wrong(const std::string& name,
                                                    const golden::ModelConfig& config,
                                                    int64_t batch, int64_t positions) {
  const bool lost = name == "lost-mask";
  if (!lost && name != "re-softmax") throw InternalError("known-wrong form " + name);
  const auto replace = lost ? without_mask : softmax_again;
  int64_t replaced = 0;
  auto graph = reference::rewrite(
      *reference::build_model(config, batch, positions),
      [&](Rewriting& rewriting, const NodeData& node, const std::vector<Node>& inputs) {
        const Replaced made = replace(rewriting, node, inputs);
        replaced += made.has_value();
        return made;
      });
  if (replaced == 0) {
    throw InputError(fmt::format("{}: method {} of {} layers has nothing of that form", name,
                                 config.method, config.num_hidden_layers));
  }
  return graph;
}

}  // namespace assay::cli
