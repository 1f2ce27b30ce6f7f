#include "reference/streaming/chunk_pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "golden/contract/error.h"
#include "reference/graph/op.h"
#include "reference/interpreters/walk.h"
#include "reference/methods/registry.h"
#include "reference/ops/mask.h"

namespace assay::reference {
namespace {

// The nodes that the targets need, in order of computation, up to those that `given` holds.
std::vector<int> needed_for(const Graph& graph, const std::vector<int>& targets,
                            const std::vector<Array>& given) {
  std::vector<bool> needed(graph.nodes().size(), false);
  for (const int id : targets) needed[static_cast<std::size_t>(id)] = true;
  for (int id = static_cast<int>(graph.nodes().size()) - 1; id >= 0; --id) {
    const auto at = static_cast<std::size_t>(id);
    if (!given[at].absent()) needed[at] = false;
    if (!needed[at]) continue;
    for (const int input : graph.node(id).inputs) needed[static_cast<std::size_t>(input)] = true;
  }
  std::vector<int> order;
  for (int id = 0; id < static_cast<int>(graph.nodes().size()); ++id) {
    if (needed[static_cast<std::size_t>(id)]) order.push_back(id);
  }
  return order;
}

// By node: whether weights alone go into it, through at least one operation or none.
std::vector<bool> of_weights_alone(const Graph& graph) {
  std::vector<bool> alone;
  for (const NodeData& node : graph.nodes()) {
    bool all = node.op != nullptr || node.weight;
    for (const int input : node.inputs) all = all && alone[static_cast<std::size_t>(input)];
    alone.push_back(all);
  }
  return alone;
}

KeptTensor kept_of(const Graph& graph, int id) {
  const Operand& rows = graph.node(id).result;
  const std::string name = graph.describe(id);
  if (rows.axes == "BGTD") return {name, rows.shape[1], rows.shape[3]};
  ASSAY_CHECK(rows.axes == "BTD", name + ": " + rows.axes);
  return {name, 1, rows.shape[2]};
}

bool is_by_key(const Graph& graph, int id) {
  return graph.node(id).result.axes.find('S') != std::string::npos;
}

// How many positions back masks let a tensor be read; kUnmasked where no mask stands between.
constexpr int64_t kUnmasked = 0;
int64_t farther_reach(int64_t a, int64_t b) {
  return a == kUnmasked || b == kUnmasked ? 0 : std::max(a, b);
}

// The windows of masks that scores pass through behind node `id`, 0 for one without.
int64_t window_behind(const Graph& graph, int id) {
  if (!is_by_key(graph, id)) return kUnmasked;
  if (const KeyWindow* keys = key_window_of(*graph.node(id).op)) return keys->window;
  std::optional<int64_t> reach;
  for (int next = id + 1; next < static_cast<int>(graph.nodes().size()); ++next) {
    const std::vector<int>& inputs = graph.node(next).inputs;
    if (std::find(inputs.begin(), inputs.end(), id) == inputs.end()) continue;
    const int64_t own = window_behind(graph, next);
    reach = reach ? farther_reach(*reach, own) : own;
  }
  return reach.value_or(kUnmasked);
}

// The windows of masks that weights of node `id` have passed through.
int64_t window_before(const Graph& graph, int id) {
  const NodeData& node = graph.node(id);
  if (node.op == nullptr) return kUnmasked;
  if (const KeyWindow* keys = key_window_of(*node.op)) return keys->window;
  std::optional<int64_t> reach;
  for (const int input : node.inputs) {
    if (!is_by_key(graph, input)) continue;
    const int64_t own = window_before(graph, input);
    reach = reach ? farther_reach(*reach, own) : own;
  }
  return reach.value_or(kUnmasked);
}

}  // namespace

ChunkPass::ChunkPass(const golden::ModelConfig& config, const golden::WeightSource& weights,
                     ObserveChunk observe)
    : observe_(std::move(observe)),
      graph_(build_model(config, 1, 1)),
      logits_(graph_->find("logits")),
      fixed_(graph_->nodes().size()) {
  find_fixed(weights);
  find_kept();
  if (config.window > 0) find_windowed(config);
  with_logits_ = needed(true);
  without_logits_ = needed(false);
}

Array ChunkPass::observed(const NodeData& node, Array value) const {
  if (!observe_ || node.name.empty()) return value;
  return observe_(node, std::move(value));
}

std::vector<int> ChunkPass::needed(bool logits) const {
  std::vector<int> targets;
  for (const auto& [id, index] : of_) targets.push_back(id);
  if (logits) targets.push_back(logits_);
  return needed_for(*graph_, targets, fixed_);
}

void ChunkPass::find_fixed(const golden::WeightSource& weights) {
  const std::vector<bool> alone = of_weights_alone(*graph_);
  std::vector<int> targets;  // what other nodes read
  for (const int id : needed_for(*graph_, {logits_}, fixed_)) {
    if (alone[static_cast<std::size_t>(id)]) continue;
    for (const int input : graph_->node(id).inputs) {
      if (alone[static_cast<std::size_t>(input)]) targets.push_back(input);
    }
  }
  const auto read = [&](const NodeData& weight) {
    Array value = Array::uninitialized(weight.shape());
    weights.read(weight.name, value.values());
    return value;
  };
  walk<Array>(
      *graph_, needed_for(*graph_, targets, fixed_), read,
      [&](int id, const NodeData& node, const std::vector<Array>& operands) {
        Array value = observed(node, value_of(node, operands));
        fixed_[static_cast<std::size_t>(id)] = value;
        return value;
      },
      [](const NodeData&, Array value) { return value; });
  for (const int id : targets) {
    Array& value = fixed_[static_cast<std::size_t>(id)];
    if (value.absent()) value = read(graph_->node(id));
  }
}

void ChunkPass::find_kept() {
  for (const int id : needed_for(*graph_, {logits_}, fixed_)) {
    const NodeData& node = graph_->node(id);
    if (node.op == nullptr) continue;
    ASSAY_CHECK(node.op->streams(), graph_->describe(id));
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const int source = node.inputs[i];
      const bool input = graph_->node(source).op == nullptr;
      const bool keys = node.op->reads_keys(i, node.inputs.size());
      const bool mask = graph_->node(source).name == "attention_mask";
      ASSAY_CHECK(mask == (keys && input), graph_->describe(id));
      if (!keys || input || of_.contains(source)) continue;
      of_[source] = 0;
    }
    if (node.op->carries()) of_[id] = 0;
  }
  for (auto& [id, index] : of_) {
    index = kept_.size();
    kept_.push_back(kept_of(*graph_, id));
  }
}

// A tensor is windowed where every operation that reads it at keys reads it through masks of the
// config's window: keys and their factors before they are masked, values with weights behind it.
void ChunkPass::find_windowed(const golden::ModelConfig& config) {
  std::vector<std::optional<int64_t>> reach(kept_.size());
  for (const int id : needed_for(*graph_, {logits_}, fixed_)) {
    const NodeData& node = graph_->node(id);
    if (node.op == nullptr) continue;
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const auto kept = of_.find(node.inputs[i]);
      if (kept == of_.end() || !node.op->reads_keys(i, node.inputs.size())) continue;
      const int64_t own =
          is_by_key(*graph_, id) ? window_behind(*graph_, id) : window_before(*graph_, id);
      std::optional<int64_t>& all = reach[kept->second];
      all = all ? farther_reach(*all, own) : own;
    }
  }
  for (std::size_t i = 0; i < kept_.size(); ++i) {
    kept_[i].windowed = reach[i].value_or(kUnmasked) == config.window;
  }
}

// Operands with keys in place of rows, and what earlier rows carry on; `operands` themselves where
// none is read so, for then a first one that nobody else holds may be overwritten.
Array ChunkPass::value_of_node(int id, const std::vector<Array>& operands,
                               const ChunkInputs& inputs) const {
  const NodeData& node = graph_->node(id);
  std::vector<Array> with_keys;
  std::vector<Operand> shapes;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    Array operand = operands[i];
    const auto kept = of_.find(node.inputs[i]);
    if (kept != of_.end() && node.op->reads_keys(i, operands.size())) {
      if (with_keys.empty()) with_keys = operands;
      operand = with_keys[i] = inputs.keys(kept->second, operand);
    }
    shapes.push_back({operand.shape(), graph_->node(node.inputs[i]).result.axes});
  }
  const Shape shape = node.op->result_at(inputs.places, shapes).shape;
  if (node.op->carries()) {
    if (with_keys.empty()) with_keys = operands;
    with_keys.push_back(inputs.keys(of_.at(id), Array::zeros(shape)));
  }
  const std::vector<Array>& in = with_keys.empty() ? operands : with_keys;
  const bool reuse = node.op->in_place() && in[0].unique();
  Array value = reuse ? in[0] : Array::uninitialized(shape);
  node.op->value_at(inputs.places, in, value);
  return value;
}

ChunkResults ChunkPass::run(const ChunkInputs& inputs) const {
  ChunkResults results;
  results.rows.resize(kept_.size());
  const auto given = [&](const NodeData& node) {
    if (node.name == "tokens") return inputs.tokens;
    if (node.name == "attention_mask") return inputs.real;
    return fixed_[static_cast<std::size_t>(&node - graph_->nodes().data())];
  };
  walk<Array>(
      *graph_, inputs.logits ? with_logits_ : without_logits_, given,
      [&](int id, const NodeData& node, const std::vector<Array>& operands) {
        Array value = observed(node, value_of_node(id, operands, inputs));
        const auto kept = of_.find(id);
        if (kept != of_.end()) results.rows[kept->second] = value;
        if (id == logits_) results.logits = value;
        return value;
      },
      [](const NodeData&, Array value) { return value; });
  return results;
}

}  // namespace assay::reference
