#include "reference/interpreters/dependence.h"

#include "golden/contract/error.h"
#include "reference/graph/op.h"

namespace assay::reference {

Sources make_sources(const Graph& graph, const std::vector<std::string>& inputs) {
  Sources sources;
  for (const std::string& input : inputs) {
    const int id = graph.find(input);
    if (id < 0) throw InputError("dependence: the graph has no input " + input);
    const Shape& shape = graph.node(id).shape();
    sources.blocks.push_back({input, sources.count, shape});
    sources.count += golden::element_count(shape);
  }
  return sources;
}

std::vector<Relation> dependences(const Graph& graph, const Sources& sources) {
  std::vector<Relation> relations;
  relations.reserve(graph.nodes().size());
  for (const NodeData& node : graph.nodes()) {
    Relation relation(node.shape(), node.result.axes, sources.count);
    if (node.op == nullptr) {
      for (const Sources::Block& block : sources.blocks) {
        if (block.input != node.name) continue;
        for (int64_t cell = 0; cell < relation.cells(); ++cell) {
          relation.add_source(cell, block.first + cell);
        }
      }
    } else {
      std::vector<Relation> operands;
      for (const int input : node.inputs) {
        operands.push_back(relations[static_cast<std::size_t>(input)]);
      }
      node.op->dependence(operands, relation);
    }
    relations.push_back(std::move(relation));
  }
  return relations;
}

}  // namespace assay::reference
