#include "verify/numerics/subgraph.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "golden/contract/error.h"
#include "reference/interpreters/error.h"
#include "reference/ops/add.h"
#include "verify/statistics/tolerance.h"

namespace assay::verify {
namespace {

using reference::Array;
using reference::Graph;
using reference::Node;
using reference::NodeData;

// Every node on the way from `id` to nodes where `stop` holds; those are included, `id` is not.
std::set<int> collect(const Graph& graph, int id, const std::function<bool(int)>& stop) {
  std::set<int> found;
  std::vector<int> open = graph.node(id).inputs;
  while (!open.empty()) {
    const int next = open.back();
    open.pop_back();
    if (!found.insert(next).second || stop(next)) continue;
    open.insert(open.end(), graph.node(next).inputs.begin(), graph.node(next).inputs.end());
  }
  return found;
}

class Catch : public reference::ErrorObserver {
 public:
  Catch(std::string name, const Cut& cut) : name_(std::move(name)), cut_(cut) {}
  bool wants(const NodeData& node) override { return node.name == name_; }
  void observe(const NodeData&, const Array& value, const Array& error) override {
    caught = {{value.values().begin(), value.values().end()},
              {error.values().begin(), error.values().end()}};
  }
  Array error_of_input(const NodeData& node, const Array& value) override {
    if (node.weight && cut_.weight_error) return cut_.weight_error(node, value);
    const bool given = cut_.error && !node.weight && cut_.given(node.name);
    return given ? cut_.error(node.name, value) : Array();
  }
  Recomputed caught;

 private:
  std::string name_;
  const Cut& cut_;
};

}  // namespace

std::vector<std::string> named_inputs(const Graph& graph, int id) {
  const auto has_name = [&](int node) { return !graph.node(node).name.empty(); };
  std::vector<std::string> names;
  for (const int node : collect(graph, id, has_name)) {
    if (has_name(node)) names.push_back(graph.node(node).name);
  }
  return names;
}

Start start_of(const Graph& graph, int id, const std::function<bool(const std::string&)>& given) {
  const auto is_given = [&](int at) {
    const NodeData& node = graph.node(at);
    return node.op == nullptr || (!node.name.empty() && given(node.name));
  };
  Start start;
  for (const int at : collect(graph, id, is_given)) {
    const NodeData& node = graph.node(at);
    if (node.name.empty() || node.weight) continue;
    (is_given(at) ? start.inputs : start.between).push_back(node.name);
  }
  return start;
}

std::vector<std::string> operations_inside(const Graph& graph, int id) {
  const auto has_name = [&](int node) { return !graph.node(node).name.empty(); };
  std::vector<std::string> names;
  for (const int node : collect(graph, id, has_name)) {
    if (!has_name(node)) names.push_back(graph.node(node).op->name());
  }
  if (graph.node(id).op != nullptr) names.push_back(graph.node(id).op->name());
  return names;
}

std::vector<int> scope_of(const Graph& graph, const Cut& cut, int target) {
  const auto stop = [&](int id) {
    const NodeData& node = graph.node(id);
    return node.op == nullptr || (!node.name.empty() && cut.given(node.name));
  };
  const std::set<int> found = collect(graph, target, stop);
  std::vector<int> ids{target};
  ids.insert(ids.end(), found.rbegin(), found.rend());
  return ids;
}

Rebuild::Rebuild(const Graph& from, const Cut& cut) : from_(from), cut_(cut) {}

void Rebuild::edit(int id, Edit edit) {
  edited_ = id;
  edit_ = std::move(edit);
}

Node Rebuild::copy(int id) {
  if (const auto known = copies_.find(id); known != copies_.end()) return known->second;
  const Node original = make(id, true);
  copies_[id] = original;  // what the edit itself reads
  if (id == edited_) copies_[id] = edit_(*this, original);
  return copies_[id];
}

Node Rebuild::expand(int id) { return make(id, false); }

Node Rebuild::make(int id, bool may_cut) {
  const NodeData& node = from_.node(id);
  if (node.weight) return graph_.weight(node.name, node.shape());
  if (node.op == nullptr || (may_cut && !node.name.empty() && cut_.given(node.name))) {
    const int known = graph_.find(node.name);
    if (known >= 0) return {&graph_, known};
    return graph_.input(node.name, node.shape(), node.result.axes);
  }
  std::vector<Node> inputs;
  for (const int input : node.inputs) inputs.push_back(copy(input));
  const Node made = graph_.add(node.op, inputs);
  // A name makes the interpreter round to storage.
  return node.name.empty() || graph_.find(node.name) >= 0 ? made : graph_.name(made, node.name);
}

Node Rebuild::parameter(const NodeData& like, Array values) {
  const std::string name = fmt::format("edited/{}", like.name);
  parameters_[name] = std::move(values);
  return graph_.weight(name, like.shape());
}

Recomputed Rebuild::evaluate(int target, const golden::PrecisionSchedule& schedule) {
  Node original = make(target, false);
  Node result = original;
  if (target == edited_) {
    copies_[target] = original;
    result = edit_(*this, original);
  }
  // Its own name is taken where an edit reads the target's given value as an input.
  if (result.id != original.id || result.data().name.empty()) {
    if (!result.data().name.empty()) result = reference::sum({result});
    result = graph_.name(result, "edited/" + from_.node(target).name);
  }
  const std::string name = result.data().name;
  Catch observer(name, cut_);
  const reference::Bindings bindings = [&](const NodeData& input) {
    const auto own = parameters_.find(input.name);
    return own != parameters_.end() ? own->second : cut_.value(from_.node(from_.find(input.name)));
  };
  reference::evaluate_with_error(graph_, bindings, schedule, reference::ErrorNorm::worst, observer);
  observer.caught.bound = worst_rule(schedule).of(observer.caught.bound);
  return std::move(observer.caught);
}

}  // namespace assay::verify
