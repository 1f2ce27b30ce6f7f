#include <fmt/format.h>

#include <algorithm>

#include "reference/graph/op.h"
#include "reference/ops/add.h"
#include "reference/ops/attend.h"
#include "reference/ops/linear.h"
#include "reference/ops/mask.h"
#include "reference/ops/softmax.h"
#include "verify/diagnosis/diagnosis.h"
#include "verify/diagnosis/rearrange.h"

namespace assay::verify {
namespace {

using golden::Shape;
using reference::Graph;
using reference::Node;
using reference::NodeData;
using reference::Operand;

bool is_square(const Shape& shape) {
  const std::size_t n = shape.size();
  return n >= 2 && shape[n - 1] == shape[n - 2] && shape[n - 1] > 1;
}

bool same_operand(const Operand& a, const Operand& b) {
  return a.shape == b.shape && a.axes == b.axes;
}

// Nodes whose name differs in one layer number only: "layers/0/attn/q" for "layers/2/attn/q".
std::vector<int> siblings(const Graph& graph, int id) {
  constexpr char kDigits[] = "0123456789";
  const NodeData& node = graph.node(id);
  std::vector<int> found;
  std::size_t begin = node.name.find_first_of(kDigits), end = 0;
  for (; begin != std::string::npos; begin = node.name.find_first_of(kDigits, end)) {
    end = std::min(node.name.find_first_not_of(kDigits, begin), node.name.size());
    for (int other = 0;; ++other) {
      std::string name = node.name;
      name.replace(begin, end - begin, std::to_string(other));
      const int sibling = graph.find(name);
      if (sibling == id) continue;
      if (sibling < 0 && other > 64) break;
      if (sibling >= 0 && same_operand(graph.node(sibling).result, node.result)) {
        found.push_back(sibling);
      }
    }
  }
  return found;
}

class Dictionary {
 public:
  Dictionary(const Graph& graph, const Cut& cut, int target)
      : graph_(graph), cut_(cut), target_(target) {}

  std::vector<Hypothesis> list() {
    on_target();
    for (const int id : scope_of(graph_, cut_, target_)) {
      if (graph_.node(id).weight) {
        on_weight(id);
      } else if (graph_.node(id).op != nullptr) {
        on_activation(id);
      }
    }
    return std::move(list_);
  }

 private:
  const NodeData& node(int id) const { return graph_.node(id); }
  bool given(int id) const {
    return node(id).op == nullptr || (!node(id).name.empty() && cut_.given(node(id).name));
  }
  bool is_probs(int id) const {
    return node(id).result.axes == "BHTS" && node(id).name.ends_with("probs");
  }

  void add(int at, std::string claim, Rebuild::Edit edit) {
    list_.push_back({at, std::move(claim), std::move(edit)});
  }
  std::string with(int id, const std::string& what) const {
    return fmt::format("{} with {} {}", node(target_).name, graph_.describe(id), what);
  }

  void add_map(int id, std::string claim, std::vector<int64_t> from) {
    add(id, std::move(claim),
        [map = std::move(from)](Rebuild&, Node x) { return rearrange(x, x.data().result, map); });
  }

  void on_target() {
    const NodeData& t = node(target_);
    const std::string& name = t.name;
    const auto elements = static_cast<std::size_t>(golden::element_count(t.shape()));
    add_map(target_, "zero", std::vector<int64_t>(elements, kZero));
    if (is_square(t.shape())) add_map(target_, name + " transposed", transpose_last_two(t.shape()));
    // As many heads as positions: a shape does not tell (B,T,H,Dh) from (B,H,T,Dh).
    if (t.shape().size() == 4 && t.result.axes[2] == 'T' && t.shape()[1] == t.shape()[2]) {
      add_map(target_, name + " with heads and positions exchanged, (B,T,H,..)",
              exchange_middle(t.shape()));
    }
    if (is_probs(target_)) resoftmax(target_, "softmax of the golden probabilities", true);
    if (is_probs(target_))
      resoftmax(target_, "softmax over all keys of the golden probabilities", false);
    if (const std::size_t axis = t.result.axes.find('T'); axis != std::string::npos) {
      for (const int64_t by : {1, -1}) {
        add_map(target_, fmt::format("{} of position t{:+d}", name, -by),
                shift_axis(t.shape(), axis, by, kUnknown));
      }
    }
    dependents_added();
    normed_behind_rotation();
    for (const int other : siblings(graph_, target_)) {
      add(target_, node(other).name,
          [other](Rebuild& rebuild, Node) { return rebuild.expand(other); });
    }
  }

  // Heads that are normed and then turned: turned first?
  void normed_behind_rotation() {
    const NodeData& t = node(target_);
    if (t.op == nullptr || t.op->name() != "rope") return;
    const NodeData& norm = node(t.inputs[0]);
    if (norm.op == nullptr || norm.op->name() != "rms_norm") return;
    add(target_, t.name + " with " + norm.name + " behind the rotation",
        [t, norm](Rebuild& rebuild, Node) {
          const Node x = rebuild.copy(norm.inputs[0]);
          return x.graph->add(norm.op, {x.graph->add(t.op, {x}), rebuild.copy(norm.inputs[1])});
        });
  }

  // A message from a word's head, sum_c A_c V_c U^(c)T; with message = full the word also hears
  // from the words whose head it is, sum_c A_c^T Q_c V^(c)T.
  void dependents_added() {
    const NodeData& t = node(target_);
    if (t.op == nullptr || t.op->name() != "linear" || node(t.inputs[0]).op == nullptr) return;
    const NodeData& context = node(t.inputs[0]);
    if (context.op->name() != "attend") return;
    const int q = renamed(context.inputs[1], "/k", "/q");
    const int v = renamed(t.inputs[1], ".u.weight", ".v.weight");
    if (q < 0 || v < 0) return;
    add(target_, t.name + " with the messages of dependents added, as message = full has them",
        [heads = context.inputs[0], q, v](Rebuild& rebuild, Node from_head) {
          const Node from_dependents =
              linear_back(attend_back(rebuild.copy(heads), rebuild.copy(q)), rebuild.copy(v));
          return from_head + from_dependents;
        });
  }

  // The node whose name has `there` where that of `id` has `here`; -1 if there is none.
  int renamed(int id, const std::string& here, const std::string& there) const {
    std::string name = node(id).name;
    const std::size_t at = name.find(here);
    return at == std::string::npos ? -1 : graph_.find(name.replace(at, here.size(), there));
  }

  void on_weight(int id) {
    for (const int other : siblings(graph_, id)) {
      add(id, with(id, "replaced by " + node(other).name),
          [other](Rebuild& rebuild, Node) { return rebuild.copy(other); });
    }
    if (node(id).shape().size() == 1) {
      const double neutral = node(id).name.ends_with("bias") ? 0 : 1;
      add(id, with(id, "left out"), [id, neutral](Rebuild& rebuild, Node x) {
        reference::Array none = reference::Array::uninitialized(x.shape());
        for (double& element : none.values()) element = neutral;
        return rebuild.parameter(rebuild.source().node(id), none);
      });
    }
    if (is_square(node(id).shape())) transposed_weight(id);
  }

  void transposed_weight(int id) {
    add(id, with(id, "transposed"), [id, cut = &cut_](Rebuild& rebuild, Node x) {
      const reference::Array weight = cut->value(rebuild.source().node(id));
      reference::Array turned = reference::Array::uninitialized(x.shape());
      const std::vector<int64_t> from = transpose_last_two(x.shape());
      for (std::size_t i = 0; i < from.size(); ++i) {
        turned.values()[i] = weight.values()[static_cast<std::size_t>(from[i])];
      }
      return rebuild.parameter(rebuild.source().node(id), turned);
    });
  }

  void on_activation(int id) {
    if (id != target_ && !node(id).name.empty()) on_named(id);
    if (id == target_ || !given(id)) on_operation(id);
  }

  // A named tensor that the target reads: is it the right one, in the right layout?
  void on_named(int id) {
    const NodeData& n = node(id);
    if (is_probs(id)) {
      resoftmax(id, with(id, "replaced by softmax of the golden probabilities"), true);
      resoftmax(id, with(id, "replaced by softmax over all keys of the golden probabilities"),
                false);
    }
    const auto elements = static_cast<std::size_t>(golden::element_count(n.shape()));
    add_map(id, with(id, "left out"), std::vector<int64_t>(elements, kZero));
    if (is_square(n.shape())) add_map(id, with(id, "transposed"), transpose_last_two(n.shape()));
    for (const int other : siblings(graph_, id)) {
      add(id, with(id, "replaced by " + node(other).name),
          [other](Rebuild& rebuild, Node) { return rebuild.copy(other); });
    }
    if (const std::size_t axis = n.result.axes.find('T'); axis != std::string::npos) {
      for (const int64_t by : {1, -1}) {
        add_map(id, with(id, fmt::format("of position t{:+d}", -by)),
                shift_axis(n.shape(), axis, by, kZero));
      }
    }
    if (n.result.axes == "BGTD") tiled(id);
  }

  // An operation on the way: is it there, and once?
  void on_operation(int id) {
    const NodeData& n = node(id);
    if (n.inputs.empty() || !same_operand(n.result, node(n.inputs[0]).result)) return;
    const std::string op = fmt::format("{} of {}", n.op->name(), graph_.describe(owner(id)));
    if (n.inputs.size() == 1 || n.op->name() != "add") {
      add(id, fmt::format("{} with {} left out", node(target_).name, op),
          [from = n.inputs[0]](Rebuild& rebuild, Node) { return rebuild.copy(from); });
      add(id, fmt::format("{} with {} applied twice", node(target_).name, op),
          [n](Rebuild& rebuild, Node x) {
            std::vector<Node> inputs{x};
            for (std::size_t i = 1; i < n.inputs.size(); ++i) {
              inputs.push_back(rebuild.copy(n.inputs[i]));
            }
            return x.graph->add(n.op, inputs);
          });
    }
    if (n.op->name() == "rope") interleaved(id, op);
    if (const reference::KeyWindow* keys = reference::key_window_of(*n.op)) windowed(id, *keys);
  }

  // A mask with a window: is it as wide as it should be, to the key?
  void windowed(int id, const reference::KeyWindow& keys) {
    if (keys.window == 0) return;
    const auto masked = [&](const std::string& by, const reference::KeyWindow& others) {
      const std::string claim =
          fmt::format("{} with {} of {} by {} instead of window {}, {} sinks", node(target_).name,
                      node(id).op->name(), graph_.describe(owner(id)), by, keys.window, keys.sinks);
      add(id, claim, [inputs = node(id).inputs, others](Rebuild& rebuild, Node) {
        return reference::causal_mask(rebuild.copy(inputs[0]), rebuild.copy(inputs[1]), others);
      });
    };
    masked("no window", {});
    for (const int64_t by : {-1, 1}) {
      if (keys.window + by == 0) continue;
      masked(fmt::format("window {}", keys.window + by), {keys.window + by, keys.sinks});
    }
    for (const int64_t by : {-1, 1}) {
      if (keys.sinks + by < 0) continue;
      masked(fmt::format("{} sinks", keys.sinks + by), {keys.window, keys.sinks + by});
    }
    if (keys.sinks > 1) masked("no sinks", {keys.window, 0});
  }

  // The first named node at or after an operation: what it belongs to.
  int owner(int id) const {
    const std::vector<int> scope = scope_of(graph_, cut_, target_);
    for (auto next = scope.rbegin(); next != scope.rend(); ++next) {
      if (*next >= id && node(*next).op != nullptr && !node(*next).name.empty()) return *next;
    }
    return target_;
  }

  void resoftmax(int id, const std::string& claim, bool masked) {
    add(id, claim, [masked](Rebuild& rebuild, Node probs) {
      const int mask = rebuild.source().find("attention_mask");
      return reference::softmax(masked ? reference::causal_mask(probs, rebuild.copy(mask)) : probs);
    });
  }

  void tiled(int id) {
    for (const int reader : scope_of(graph_, cut_, target_)) {
      const NodeData& r = node(reader);
      const bool reads = std::find(r.inputs.begin(), r.inputs.end(), id) != r.inputs.end();
      if (!reads || r.inputs.size() != 2 || r.inputs[1] != id) continue;
      const int64_t heads = node(r.inputs[0]).shape()[1];
      const Shape shape = node(id).shape();
      if (heads == shape[1] || shape[1] == 1) return;
      add(id, with(id, "tiled over query heads (h mod Hkv) instead of repeated"),
          [heads, shape](Rebuild&, Node x) {
            return rearrange(x, {{shape[0], heads, shape[2], shape[3]}, "BGTD"},
                             tile_heads(shape, heads));
          });
      return;
    }
  }

  void interleaved(int id, const std::string& op) {
    const NodeData& n = node(id);
    add(id,
        fmt::format("{} with {} on interleaved pairs instead of halves", node(target_).name, op),
        [n](Rebuild& rebuild, Node) {
          const Node x = rebuild.copy(n.inputs[0]);
          const Node halves = rearrange(x, n.result, pairs_to_halves(n.shape()));
          return rearrange(x.graph->add(n.op, {halves}), n.result, halves_to_pairs(n.shape()));
        });
  }

  const Graph& graph_;
  const Cut& cut_;
  int target_;
  std::vector<Hypothesis> list_;
};

}  // namespace

std::vector<Hypothesis> hypotheses(const Graph& graph, const Cut& cut, int target) {
  return Dictionary(graph, cut, target).list();
}

}  // namespace assay::verify
