#include "reference/interpreters/segments.h"

#include <algorithm>

#include "reference/graph/op.h"

namespace assay::reference {
namespace {

// "layers/3/input" begins a layer, "layers/3/output" ends it, and so the last one;
// "pt/2/labels", of several groups "pt/2/labels/0", ends a round, "pt/0/labels" stands ahead of the
// first. Others: "".
std::string border_of(const std::string& name) {
  const std::size_t slash = name.find('/', name.starts_with("layers/") ? 7 : 3);
  if (slash == std::string::npos) return "";
  const std::string part = name.substr(slash + 1);
  if (name.starts_with("layers/")) return part == "input" || part == "output" ? part : "";
  if (!name.starts_with("pt/")) return "";
  return part == "labels" || part.starts_with("labels/") ? "labels" : "";
}

// The nodes that stand between two layers, of which the last one is a cut. What ends a layer is
// what the next one begins with: only the last output is one.
std::vector<std::vector<int>> borders(const Graph& graph) {
  std::vector<std::vector<int>> found;
  int last_output = -1;
  std::string round;
  for (int id = 0; id < static_cast<int>(graph.nodes().size()); ++id) {
    const std::string& name = graph.node(id).name;
    const std::string border = border_of(name);
    if (border == "output") last_output = id;
    if (border == "input") found.push_back({id});
    if (border != "labels") continue;
    const std::string own = name.substr(0, name.find('/', 3));
    if (own == round) {
      found.back().push_back(id);
    } else {
      found.push_back({id});
    }
    round = own;
  }
  if (last_output >= 0) found.push_back({last_output});
  return found;
}

}  // namespace

int Segments::of(int id) const {
  if (empty() || id <= cuts.front() || id > cuts.back()) return -1;
  return static_cast<int>(std::lower_bound(cuts.begin(), cuts.end(), id) - cuts.begin()) - 1;
}

Segments segments_of(const Graph& graph, Keep keep) {
  Segments segments;
  if (keep == Keep::all) return segments;
  segments.stored.assign(graph.nodes().size(), false);
  for (const std::vector<int>& border : borders(graph)) {
    segments.cuts.push_back(border.back());
    for (const int id : border) segments.stored[static_cast<std::size_t>(id)] = true;
  }
  if (keep == Keep::inputs) return segments;
  for (int id = 0; id < static_cast<int>(graph.nodes().size()); ++id) {
    for (const int input : graph.node(id).inputs) {
      if (graph.node(input).op == nullptr || segments.of(input) == segments.of(id)) continue;
      segments.stored[static_cast<std::size_t>(input)] = true;
    }
  }
  return segments;
}

}  // namespace assay::reference
