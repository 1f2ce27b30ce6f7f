#include "verify/numerics/case.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <sstream>

#include "golden/contract/error.h"
#include "golden/contract/tensor_meanings.h"
#include "reference/methods/registry.h"
#include "verify/numerics/subgraph.h"
#include "verify/subjects/bindings.h"

namespace assay::verify {
namespace {

// "/layers/3/attn/q" and "/forward/layers/3/attn/q" mean layers/3/attn/q; so in lists with commas.
std::string bare_pattern(const std::string& patterns) {
  std::string bare, part;
  std::istringstream list(patterns);
  while (std::getline(list, part, ',')) {
    for (const std::string prefix : {"/", "forward/"}) {
      if (part.starts_with(prefix)) part.erase(0, prefix.size());
    }
    bare += (bare.empty() ? "" : ",") + part;
  }
  return bare;
}

// Throws InputError for a part of a list that matches no name: what was asked for by a mistyped
// name would not be judged, and nobody would be told.
void check_parts(const std::string& option, const std::string& patterns,
                 const std::vector<std::string>& names, const std::string& expected) {
  std::string part;
  std::istringstream list(patterns);
  while (std::getline(list, part, ',')) {
    if (part.empty() || std::any_of(names.begin(), names.end(), [&](const std::string& name) {
          return golden::matches(part, name);
        })) {
      continue;
    }
    throw InputError(fmt::format("{} {}: {}; 'assay inspect' lists the golden file's names", option,
                                 golden::printable(part), expected));
  }
}

Checkpoint checkpoint_of(const golden::GoldenReader& golden, const golden::ManifestRow& row,
                         const std::string& name, const reference::Graph& graph) {
  const int id = graph.find(name);
  if (id < 0) {
    throw InputError(fmt::format("{}: {}: the reference of method {} has no tensor of this name",
                                 golden.path(), row.path, golden.header().config.method));
  }
  const reference::Operand& due = graph.node(id).result;
  if (due.shape != row.shape) {
    throw InputError(fmt::format("{}: {}: expected {}, got {}", golden.path(), row.path,
                                 golden::shape_text(due.shape), golden::shape_text(row.shape)));
  }
  const golden::TensorMeaning* meaning = golden::meaning_of(golden.header().config, name);
  return {name, due.shape, due.axes, meaning == nullptr ? "" : meaning->shape};
}

}  // namespace

std::vector<int> backward_places(const reference::Graph& graph) {
  std::vector<int> place;
  for (std::size_t id = 0; id < graph.nodes().size(); ++id) {
    const reference::NodeData& node = graph.node(static_cast<int>(id));
    place.push_back(node.weight ? 0 : 2 * static_cast<int>(id));
    for (const int input : node.inputs) {
      int& first = place[static_cast<std::size_t>(input)];
      if (graph.node(input).weight && first == 0) first = place.back() - 1;
    }
  }
  return place;
}

Case::Case(const golden::GoldenReader& golden_file, const std::string& pattern,
           const std::vector<std::string>& left_out,
           const std::function<bool(const std::string&)>& computes, bool gives_a_part,
           bool from_elsewhere)
    : golden(golden_file),
      graph(reference::build_model(golden.header().config, golden.batch(), golden.positions())),
      batch(read_batch(golden)),
      bindings(bind(batch, golden)),
      undefined(from_elsewhere ? UndefinedPositions(*graph, batch) : UndefinedPositions()),
      pattern_(bare_pattern(pattern)) {
  for (const std::string& p : left_out) left_out_.push_back(bare_pattern(p));
  static const std::string kForward = "/forward/";
  std::vector<Checkpoint> declared;
  for (const golden::ManifestRow& row : golden.manifest()) {
    if (!row.path.starts_with(kForward)) continue;
    declared.push_back(checkpoint_of(golden, row, row.path.substr(kForward.size()), *graph));
  }
  std::stable_sort(declared.begin(), declared.end(), [&](const auto& a, const auto& b) {
    return graph->find(a.name) < graph->find(b.name);
  });
  find_gradients();
  std::vector<std::string> names;
  for (const Checkpoint& checkpoint : declared) names.push_back(checkpoint.name);
  for (const auto* part : {&gradients, &zero_gradients, &unasked_gradients}) {
    for (const Checkpoint& gradient : *part) names.push_back(gradient.name);
  }
  check_parts("--only", pattern_, names, "the golden file has no such tensor");
  for (Checkpoint& checkpoint : declared) {
    const bool computed = !computes || computes(checkpoint.name);
    if (!computed) not_computed.insert(checkpoint.name);
    const bool in = selects(checkpoint.name) && (computed || gives_a_part);
    (in ? asked : undemanded).push_back(std::move(checkpoint));
  }
}

void Case::find_gradients() {
  std::set<std::string> there;
  const auto add = [&](const Checkpoint& gradient, std::vector<Checkpoint>& asked_ones) {
    (selects(gradient.name) ? asked_ones : unasked_gradients).push_back(gradient);
  };
  for (const golden::ManifestRow& row : golden.manifest()) {
    if (row.role != "grad") continue;
    const std::string name = row.path.substr(1);  // "grad/logits"
    Checkpoint gradient = checkpoint_of(golden, row, name.substr(std::size(kGrad) - 1), *graph);
    there.insert(gradient.name);
    gradient.name = name;
    add(gradient, gradients);
  }
  if (there.empty()) return;
  for (const reference::NodeData& node : graph->nodes()) {
    if (!node.weight || there.contains(node.name)) continue;
    add({kGrad + node.name, node.shape(), node.result.axes}, zero_gradients);
  }
  const std::vector<int> place = backward_places(*graph);
  const auto place_of = [&](const Checkpoint& gradient) {
    const int id = graph->find(gradient.name.substr(std::size(kGrad) - 1));
    return place[static_cast<std::size_t>(id)];
  };
  std::stable_sort(gradients.begin(), gradients.end(),
                   [&](const auto& a, const auto& b) { return place_of(a) > place_of(b); });
}

bool Case::selects(const std::string& name) const {
  return golden::matches(pattern_, name) &&
         std::none_of(left_out_.begin(), left_out_.end(),
                      [&](const std::string& p) { return golden::matches(p, name); });
}

Interest Case::interest_in(const std::string& name) const {
  if (is_gradient(name)) {
    if (!has_gradients()) return Interest::none;
    for (const auto* part : {&gradients, &zero_gradients}) {
      for (const Checkpoint& gradient : *part) {
        if (gradient.name == name) return Interest::needed;
      }
    }
    return selects(name) ? Interest::named : Interest::none;
  }
  if (!declares(name)) return selects(name) ? Interest::named : Interest::none;
  return selects(name) ? Interest::needed : Interest::useful;
}

std::vector<std::string> Case::wanted(bool forced) const {
  const bool all = std::all_of(undemanded.begin(), undemanded.end(), [&](const Checkpoint& other) {
    return not_computed.contains(other.name);
  });
  if (all) return {};
  std::vector<std::string> names;
  std::set<std::string> seen;
  const auto want = [&](const std::string& name) {
    if (declares(name) && seen.insert(name).second) names.push_back(name);
  };
  for (const Checkpoint& checkpoint : asked) {
    want(checkpoint.name);
    if (forced) continue;
    for (const std::string& input : named_inputs(*graph, graph->find(checkpoint.name))) {
      want(input);
    }
  }
  return names;
}

bool Case::declares(const std::string& name) const {
  return golden.find("/forward/" + name) != nullptr;
}

bool Case::can_be_forced(const std::string& name) const {
  return declares(name) && !not_computed.contains(name) && !golden::is_attention_matrix(name);
}

reference::Array Case::weight_error(golden::Precision storage, const reference::NodeData& input,
                                    const reference::Array& value) const {
  return learned_rounding(golden.header().config.method, storage, input, value);
}

std::string Case::initial_weights(const std::string& name) const {
  for (const std::string& input : named_inputs(*graph, graph->find(name))) {
    const reference::NodeData& node = graph->node(graph->find(input));
    if (!node.weight || node.shape().size() != 1) continue;
    if (is_learned(golden.header().config.method, input)) continue;
    const reference::Array weight = bindings(node);
    const auto all = [&](double x) {
      return std::all_of(weight.values().begin(), weight.values().end(),
                         [x](double value) { return value == x; });
    };
    if (input.ends_with("bias")) {
      if (all(0)) return "a bias that it adds is 0 everywhere: one that is lost does not show";
    } else if (all(1)) {
      return "its gain is 1 everywhere: one that is lost, or another norm's, does not show";
    }
  }
  return "";
}

void Case::check_left_out(const std::vector<std::string>& others) const {
  std::vector<std::string> names = others;
  for (const auto* part : {&asked, &undemanded}) {
    for (const Checkpoint& checkpoint : *part) names.push_back(checkpoint.name);
  }
  for (const auto* part : {&gradients, &zero_gradients, &unasked_gradients}) {
    for (const Checkpoint& gradient : *part) names.push_back(gradient.name);
  }
  for (const std::string& part : left_out_) {
    if (part == "grad/*") continue;  // the one name of all of them, whether a file has them or not
    check_parts("--leave-out", part, names, "neither golden file nor subject has such a tensor");
  }
}

std::set<std::string> Case::required(const std::vector<std::string>& patterns) const {
  std::vector<std::string> judged;
  for (const auto* part : {&asked, &gradients, &zero_gradients}) {
    for (const Checkpoint& checkpoint : *part) judged.push_back(checkpoint.name);
  }
  std::set<std::string> names;
  for (const std::string& given : patterns) {
    const std::string pattern = given == "all" ? "*" : bare_pattern(given);
    if (pattern.empty()) {
      throw InputError("--require: expected a pattern of tensors or all, got nothing");
    }
    check_parts("--require", pattern, judged, "no such tensor among those that are to be judged");
    for (const std::string& name : judged) {
      const bool meant = is_gradient(pattern) || !is_gradient(name);
      if (meant && golden::matches(pattern, name)) names.insert(name);
    }
  }
  return names;
}

int64_t Case::elements() const {
  int64_t sum = 0;
  for (const Checkpoint& checkpoint : asked) sum += golden::element_count(checkpoint.shape);
  return sum;
}

}  // namespace assay::verify
