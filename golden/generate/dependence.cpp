#include "golden/generate/dependence.h"

#include <fmt/format.h>

#include "golden/contract/error.h"
#include "reference/interpreters/dependence.h"
#include "reference/methods/registry.h"

namespace assay::golden {
namespace {

using reference::Graph;
using reference::NodeData;
using reference::Relation;
using reference::Sources;

constexpr double kMostBytes = 4.0 * (1 << 30);

Sources sources_of(const Graph& graph) {
  Sources sources = reference::make_sources(graph, {"tokens", "attention_mask"});
  for (const Sources::Block& block : sources.blocks) {
    if (block.shape[0] == 1) continue;
    throw InputError(fmt::format("dependence: {}: expected one row, got {}", block.input,
                                 shape_text(block.shape)));
  }
  return sources;
}

// The relation's cells of each position, joined. Both inputs have T sources, one after the other.
std::vector<uint8_t> by_position(const Relation& relation, int64_t positions) {
  std::vector<uint8_t> may_depend(static_cast<std::size_t>(positions * positions), 0);
  const std::size_t axis = relation.cell_axes().find('T');
  int64_t cells_of_one = 1;
  for (std::size_t a = axis + 1; a < relation.cell_axes().size(); ++a) {
    cells_of_one *= relation.cell_shape()[a];
  }
  for (int64_t cell = 0; cell < relation.cells(); ++cell) {
    const int64_t t = cell / cells_of_one % positions;
    for (const int64_t source : relation.sources_of(cell)) {
      may_depend[static_cast<std::size_t>(t * positions + source % positions)] = 1;
    }
  }
  return may_depend;
}

}  // namespace

std::map<std::string, std::vector<uint8_t>> position_dependences(const Graph& graph) {
  const Sources sources = sources_of(graph);
  const std::vector<Relation> relations = reference::dependences(graph, sources);
  std::map<std::string, std::vector<uint8_t>> matrices;
  for (std::size_t id = 0; id < relations.size(); ++id) {
    const NodeData& node = graph.node(static_cast<int>(id));
    const bool named = node.op != nullptr && !node.name.empty();
    if (!named || node.result.axes.find('T') == std::string::npos) continue;
    matrices[node.name] = by_position(relations[id], sources.blocks[0].shape[1]);
  }
  return matrices;
}

void write_dependences(const ModelConfig& config, int64_t positions, GoldenWriter& writer) {
  const auto graph = reference::build_model(config, 1, positions);
  for (const auto& [name, may_depend] : position_dependences(*graph)) {
    writer.write_dependence(name, positions, may_depend);
  }
}

void check_dependence_memory(const ModelConfig& config, int64_t positions) {
  const auto graph = reference::build_model(config, 1, positions);
  double cells = 0;
  for (const NodeData& node : graph->nodes()) {
    double of_node = 1;
    for (std::size_t axis = 0; axis < node.result.axes.size(); ++axis) {
      if (node.result.axes[axis] != 'D') of_node *= static_cast<double>(node.shape()[axis]);
    }
    cells += of_node;
  }
  const double bytes = cells * (static_cast<double>(2 * positions) / 8 + 1);
  if (bytes <= kMostBytes) return;
  throw InputError(fmt::format(
      "--dependence: {} positions: expected relations of at most {:.0f} GiB, got {:.1f}; take "
      "fewer positions with --seq",
      positions, kMostBytes / (1 << 30), bytes / (1 << 30)));
}

}  // namespace assay::golden
