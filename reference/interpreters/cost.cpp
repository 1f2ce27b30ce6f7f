#include "reference/interpreters/cost.h"

#include <algorithm>

#include "reference/graph/op.h"
#include "reference/interpreters/walk.h"

namespace assay::reference {
namespace {

int64_t bytes_of(const NodeData& node) {
  return golden::element_count(node.shape()) * static_cast<int64_t>(sizeof(double));
}

// Stands for a tensor in the walk: counts itself while it lives.
class Held {
 public:
  Held() = default;
  Held(int64_t bytes, int64_t& live, int64_t& peak)
      : counted_(new int64_t(bytes), [&live](int64_t* count) {
          live -= *count;
          delete count;
        }) {
    live += bytes;
    peak = std::max(peak, live);
  }
  bool absent() const { return counted_ == nullptr; }
  bool unique() const { return counted_.use_count() == 1; }

 private:
  std::shared_ptr<int64_t> counted_;
};

}  // namespace

Cost cost_of(const Graph& graph) {
  Cost cost;
  int64_t live = 0;
  walk<Held>(
      graph,
      [&](const NodeData& input) {
        if (input.weight) cost.weight_bytes += bytes_of(input);
        return Held(bytes_of(input), live, cost.peak_bytes);
      },
      [&](int, const NodeData& node, const std::vector<Held>& held) {
        std::vector<Operand> operands;
        for (const int input : node.inputs) {
          operands.push_back(graph.node(input).result);
          cost.bytes += static_cast<double>(bytes_of(graph.node(input)));
        }
        cost.flops += node.op->flops(operands, node.result);
        cost.bytes += static_cast<double>(bytes_of(node));
        if (node.op->in_place() && held[0].unique()) return held[0];  // as value_of() does
        return Held(bytes_of(node), live, cost.peak_bytes);
      },
      [](const NodeData&, Held held) { return held; });
  return cost;
}

}  // namespace assay::reference
