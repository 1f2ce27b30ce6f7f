// The Probabilistic Transformer: a conditional random field over one label Z_t of Dz values per
// word and, per channel c, one head H_t^c whose value is another word; unary scores S [B,T,Dz],
// ternary scores T^(c). Mean-field updates, rounds n = 1 .. N:
//
//   (4)  Qz^(0) = softmax(S);  Qh^(0) uniform over the words that can be a head
//   (5)  Mh = (1 - head_damping) F + head_damping Mh,           Mh^(0) = 0
//   (6)  Qh = (1 - head_step) Qh + head_step softmax(mask(Mh / lambda_h))
//   (7)  Mz = (1 - label_damping) (S + G) + label_damping Mz,   Mz^(0) = S
//   (8)  Qz = (1 - label_step) Qz + label_step softmax(Mz / lambda_z)
//
// with the messages F (2) and G (3) of messages.h, both from Qz of the round before. async: G from
// the round's own Qh; sync: from Qh of the round before. The mask excludes the word itself,
// padding, with causal heads every later word, and with a centred window of W words those with
// |s - t| > floor(W/2); a word without any possible head has Qh = 0 and
// hears nothing.
//
//   Head groups   G = sum_g G_g, each group with heads and factors of its own. In turn, a round
//                 updates one group; the others keep their Qh, but speak with Q_c and V_c of the
//                 latest Qz.
//   Label groups  F = sum_g F_g with one Qh for all; G_g goes to label group g only.
//
// Words are mixed by F and by G. Cost: a round is one attention layer of K*C heads of size r.
// Source: Wu and Tu, "Probabilistic Transformer", Findings of ACL 2023, equations 6 to 9 and 24 to
// 28; step sizes and dampings as in its appendix.
#include "reference/prob_transformer/prob_transformer.h"

#include <optional>
#include <string>
#include <vector>

#include "golden/contract/names.h"
#include "reference/ops/add.h"
#include "reference/ops/cross_entropy.h"
#include "reference/ops/embedding.h"
#include "reference/ops/linear.h"
#include "reference/ops/mask.h"
#include "reference/ops/scale.h"
#include "reference/ops/softmax.h"
#include "reference/prob_transformer/messages.h"

namespace assay::reference {
namespace {

using golden::ModelConfig;
using golden::ProbTransformer;

// (1 - step) before + step fresh; a full step does not look back.
Node stepped(std::optional<Node> before, Node fresh, double step) {
  return step == 1 ? fresh : scale(*before, 1 - step) + scale(fresh, step);
}

// (1 - damping) fresh + damping before, which is 0 where there is none.
Node damped(std::optional<Node> before, Node fresh, double damping) {
  if (damping == 0) return fresh;
  const Node part = scale(fresh, 1 - damping);
  return before ? part + scale(*before, damping) : part;
}

// One group of head nodes: its factors, by label group, and where its inference stands.
struct HeadGroup {
  std::vector<Factors> factors;
  std::optional<Node> heads;    // Qh [B,C,T,T]
  std::optional<Node> message;  // Mh [B,C,T,T]; none: 0
};

// One group of label nodes.
struct LabelGroup {
  Node unary;    // S  [B,T,Dz]
  Node message;  // Mz [B,T,Dz]
  Node labels;   // Qz [B,T,Dz]
  Node scores;   // Mz / lambda_z
};

class Inference {
 public:
  Inference(const ModelConfig& config, Graph& graph, Node tokens, Node attention_mask)
      : c_(config),
        pt_(golden::prob_transformer_of(config)),
        graph_(graph),
        attention_mask_(attention_mask),
        rule_(pt_.causal_heads ? Heads::earlier_word : Heads::any_word),
        reach_(config.window == 0 ? kEveryWord : config.window / 2) {
    for (int64_t m = 0; m < pt_.label_groups; ++m) add_label_group(tokens, m);
    for (int64_t g = 0; g < pt_.head_groups; ++g) add_head_group(g);
  }

  void round(int64_t n) {
    std::vector<std::vector<Node>> messages(labels_.size());  // G by label group, by head group
    for (int64_t g = 0; g < pt_.head_groups; ++g) {
      if (!takes_part(n, g)) continue;
      HeadGroup& group = heads_[static_cast<std::size_t>(g)];
      const std::vector<Projected> projected = project_labels(n, g);
      const std::optional<Node> before = group.heads;
      if (is_updated(n, g)) update_heads(n, g, projected);
      const Node heads = pt_.schedule == ProbTransformer::Schedule::sync ? *before : *group.heads;
      for (std::size_t m = 0; m < labels_.size(); ++m) {
        const Node message =
            label_messages(pt_.message, heads, projected[m], group.factors[m]);  // (3)
        const int64_t of = g + static_cast<int64_t>(m);  // one of the two is 0
        messages[m].push_back(named(n, "message/" + std::to_string(of), message));
      }
    }
    for (std::size_t m = 0; m < labels_.size(); ++m) {
      const Node all =
          labels_.size() > 1 ? messages[m][0] : named(n, "message/sum", sum(messages[m]));
      update_labels(n, static_cast<int64_t>(m), all);
    }
  }

  // logits [B,T,V] = sum over label groups of what the output layer makes of each.
  Node logits() {
    std::vector<Node> terms;
    for (std::size_t m = 0; m < labels_.size(); ++m) {
      const std::string name = golden::output_weight(c_, static_cast<int64_t>(m));
      const Node weight = graph_.weight(name, {c_.vocab_size, c_.hidden_size});
      const bool scores = pt_.read == ProbTransformer::Read::scores;
      terms.push_back(linear(scores ? labels_[m].scores : labels_[m].labels, weight));
    }
    return terms.size() == 1 ? terms[0] : sum(terms);
  }

 private:
  // Whether head group g speaks in round n, and whether (2) and (3) run for it. In turn, round n
  // updates group (n - 1) mod G alone, and a group that has had no round of its own is silent.
  bool takes_part(int64_t n, int64_t g) const {
    return pt_.updates == ProbTransformer::Updates::every_round || g < n;
  }
  bool is_updated(int64_t n, int64_t g) const {
    return pt_.updates == ProbTransformer::Updates::every_round || (n - 1) % pt_.head_groups == g;
  }
  // Whether the update or a message from dependents reads Q_c in round n.
  bool needs_queries(int64_t n, int64_t g) const {
    return is_updated(n, g) || pt_.message == ProbTransformer::Message::full;
  }
  // Whether Qh^(0) is read: (3) looks back at it, or sync sends the first G from it.
  bool starts_even() const {
    return pt_.schedule == ProbTransformer::Schedule::sync || pt_.head_step != 1;
  }

  void add_label_group(Node tokens, int64_t m) {
    const Node table = graph_.weight(golden::unary_weight(c_, m), {c_.vocab_size, c_.hidden_size});
    const Node unary = graph_.name(embedding(tokens, table), label_tensor("embed", m));
    const Node labels = named(0, label_tensor("labels", m), softmax(unary));  // (4)
    labels_.push_back({.unary = unary, .message = unary, .labels = labels, .scores = unary});
  }

  void add_head_group(int64_t g) {
    HeadGroup group;
    for (int64_t m = 0; m < pt_.label_groups; ++m) {
      const Shape shape{golden::distance_groups(pt_) * pt_.channels * pt_.rank, c_.hidden_size};
      group.factors.push_back({.u = graph_.weight(golden::factor_weight(g + m, "u"), shape),
                               .v = graph_.weight(golden::factor_weight(g + m, "v"), shape),
                               .channels = pt_.channels,
                               .rank = pt_.rank,
                               .distances = std::nullopt});
      if (pt_.distances) group.factors.back().distances = {*pt_.distances, !pt_.causal_heads};
    }
    if (starts_even()) {
      const Node scores = even_head_scores(attention_mask_, pt_.channels, rule_, reach_);
      group.heads = named(0, head_tensor("heads", g), softmax(scores));  // (4)
    }
    heads_.push_back(std::move(group));
  }

  std::vector<Projected> project_labels(int64_t n, int64_t g) {
    std::vector<Projected> projected;
    for (std::size_t m = 0; m < labels_.size(); ++m) {
      const auto index = static_cast<int64_t>(m);
      const Factors& factors = heads_[static_cast<std::size_t>(g)].factors[m];
      projected.push_back(project(labels_[m].labels, factors));  // (1)
      named(n, label_tensor(head_tensor("k", g), index), projected[m].k);
      if (needs_queries(n, g)) {
        named(n, label_tensor(head_tensor("q", g), index), projected[m].q);
      }
    }
    return projected;
  }

  void update_heads(int64_t n, int64_t g, const std::vector<Projected>& projected) {
    HeadGroup& group = heads_[static_cast<std::size_t>(g)];
    std::vector<Node> messages;  // F by label group [B,C,T,T]
    for (std::size_t m = 0; m < projected.size(); ++m) {
      messages.push_back(head_messages(projected[m], group.factors[m]));  // (2)
    }
    Node message = messages.size() == 1 ? messages[0] : sum(messages);
    message = damped(group.message, message, pt_.head_damping);  // (5)
    const Node scores = head_mask(scale(message, 1 / pt_.lambda_h), attention_mask_, rule_, reach_);
    const Node fresh = softmax(named(n, head_tensor("scores", g), scores));
    group.heads =
        named(n, head_tensor("heads", g), stepped(group.heads, fresh, pt_.head_step));  // (6)
    group.message = message;
  }

  void update_labels(int64_t n, int64_t m, Node all) {
    LabelGroup& group = labels_[static_cast<std::size_t>(m)];
    group.message = damped(group.message, group.unary + all, pt_.label_damping);  // (7)
    group.scores =
        named(n, label_tensor("label_scores", m), scale(group.message, 1 / pt_.lambda_z));
    const Node labels = stepped(group.labels, softmax(group.scores), pt_.label_step);
    group.labels = named(n, label_tensor("labels", m), labels);  // (8)
  }

  Node named(int64_t n, const std::string& tensor, Node node) {
    return graph_.name(node, golden::round_name(n, tensor));
  }
  // With several groups a tensor of one of them ends in its number.
  std::string head_tensor(const std::string& tensor, int64_t g) const {
    return golden::group_name(tensor, pt_.head_groups, g);
  }
  std::string label_tensor(const std::string& tensor, int64_t m) const {
    return golden::group_name(tensor, pt_.label_groups, m);
  }

  const ModelConfig& c_;
  ProbTransformer pt_;
  Graph& graph_;
  Node attention_mask_;
  Heads rule_;
  int64_t reach_;  // words between a head and its word, of a centred window
  std::vector<HeadGroup> heads_;
  std::vector<LabelGroup> labels_;
};

}  // namespace

std::unique_ptr<Graph> build_prob_transformer(const ModelConfig& config, int64_t batch,
                                              int64_t positions) {
  auto graph = std::make_unique<Graph>();
  const Node tokens = graph->input("tokens", {batch, positions}, "BT");
  const Node attention_mask = graph->input("attention_mask", {batch, positions}, "BT");
  const Node labels = graph->input("labels", {batch, positions}, "BT");

  const ProbTransformer pt = golden::prob_transformer_of(config);
  Inference inference(config, *graph, tokens, attention_mask);
  for (int64_t n = 1; n <= pt.iterations; ++n) inference.round(n);
  const Node logits = graph->name(inference.logits(), "logits");  // [B,T,V]
  const bool causal = pt.output == ProbTransformer::Output::causal;
  graph->name(causal ? cross_entropy(logits, labels) : cross_entropy_in_place(logits, labels),
              "loss");  // []
  return graph;
}

}  // namespace assay::reference
