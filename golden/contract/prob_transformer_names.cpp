#include <fmt/format.h>

#include "golden/contract/names.h"
#include "golden/contract/prob_transformer.h"

namespace assay::golden {
namespace {

using PT = ProbTransformer;

// Appends the tensors of one config in the order in which they are computed.
class Lister {
 public:
  Lister(const ModelConfig& config, int64_t batch, int64_t positions)
      : pt_(prob_transformer_of(config)),
        hidden_{batch, positions, config.hidden_size},
        logits_{batch, positions, config.vocab_size},
        scores_{batch, pt_.channels, positions, positions},
        projected_{batch, distance_groups(pt_) * pt_.channels, positions, pt_.rank} {}

  std::vector<TensorInfo> list() {
    for (int64_t m = 0; m < pt_.label_groups; ++m) {
      add(group_name("embed", pt_.label_groups, m), hidden_, "BTD");
      add(label_tensor(0, "labels", m), hidden_, "BTD");
    }
    for (int64_t g = 0; g < pt_.head_groups && has_first_heads(); ++g) {
      add(head_tensor(0, "heads", g), scores_, "BHTS");
    }
    for (int64_t n = 1; n <= pt_.iterations; ++n) round(n);
    add("logits", logits_, "BTD");
    add("loss", {}, "");
    return std::move(tensors_);
  }

 private:
  // Which tensors round n has of head group g (any, heads, queries), and whether heads stand ahead
  // of round 1.
  // Whoever computes them decides that again by itself; a difference shows in the names.
  bool speaks(int64_t n, int64_t g) const {
    return pt_.updates == PT::Updates::every_round || g < n;
  }
  bool has_heads(int64_t n, int64_t g) const {
    return pt_.updates == PT::Updates::every_round || (n - 1) % pt_.head_groups == g;
  }
  bool has_queries(int64_t n, int64_t g) const {
    return has_heads(n, g) || pt_.message == PT::Message::full;
  }
  bool has_first_heads() const { return pt_.schedule == PT::Schedule::sync || pt_.head_step != 1; }

  void round(int64_t n) {
    for (int64_t g = 0; g < pt_.head_groups; ++g) {
      if (speaks(n, g)) head_group(n, g);
    }
    if (pt_.label_groups == 1) add(round_name(n, "message/sum"), hidden_, "BTD");
    for (int64_t m = 0; m < pt_.label_groups; ++m) {
      add(label_tensor(n, "label_scores", m), hidden_, "BTD");
      add(label_tensor(n, "labels", m), hidden_, "BTD");
    }
  }

  void head_group(int64_t n, int64_t g) {
    for (int64_t m = 0; m < pt_.label_groups; ++m) {
      if (has_queries(n, g)) add(projected_tensor(n, "q", g, m), projected_, "BHTD");
      add(projected_tensor(n, "k", g, m), projected_, "BGTD");
    }
    if (has_heads(n, g)) {
      add(head_tensor(n, "scores", g), scores_, "BHTS");
      add(head_tensor(n, "heads", g), scores_, "BHTS");
    }
    for (int64_t m = 0; m < pt_.label_groups; ++m) {
      add(round_name(n, fmt::format("message/{}", g + m)), hidden_, "BTD");
    }
  }

  std::string head_tensor(int64_t n, const char* tensor, int64_t g) const {
    return round_name(n, group_name(tensor, pt_.head_groups, g));
  }
  std::string label_tensor(int64_t n, const char* tensor, int64_t m) const {
    return round_name(n, group_name(tensor, pt_.label_groups, m));
  }
  // Of a head group and a label group, one of which is the only one of its kind.
  std::string projected_tensor(int64_t n, const char* tensor, int64_t g, int64_t m) const {
    return round_name(n, group_name(group_name(tensor, pt_.head_groups, g), pt_.label_groups, m));
  }

  void add(std::string name, Shape shape, std::string axes) {
    tensors_.push_back({std::move(name), std::move(shape), std::move(axes)});
  }

  PT pt_;
  Shape hidden_, logits_, scores_, projected_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace

std::string round_name(int64_t round, const std::string& tensor) {
  return fmt::format("pt/{}/{}", round, tensor);
}

std::string group_name(const std::string& tensor, int64_t groups, int64_t group) {
  return groups == 1 ? tensor : fmt::format("{}/{}", tensor, group);
}

std::string unary_weight(const ModelConfig& config, int64_t m) {
  return config.pt.label_groups == 1 ? "model.unary.weight"
                                     : fmt::format("model.unary.{}.weight", m);
}

std::string output_weight(const ModelConfig& config, int64_t m) {
  if (config.tie_word_embeddings) return unary_weight(config, m);
  return config.pt.label_groups == 1 ? "lm_head.weight" : fmt::format("lm_head.{}.weight", m);
}

std::string factor_weight(int64_t group, const std::string& which) {
  return fmt::format("model.groups.{}.{}.weight", group, which);
}

std::vector<TensorInfo> prob_transformer_tensors(const ModelConfig& config, int64_t batch,
                                                 int64_t positions) {
  return Lister(config, batch, positions).list();
}

std::vector<TensorInfo> prob_transformer_weights(const ModelConfig& c) {
  const PT pt = prob_transformer_of(c);
  const Shape table{c.vocab_size, c.hidden_size};
  const Shape factor{distance_groups(pt) * pt.channels * pt.rank, c.hidden_size};
  std::vector<TensorInfo> weights;
  for (int64_t m = 0; m < pt.label_groups; ++m) {
    weights.push_back({unary_weight(c, m), table, "DD"});
  }
  for (int64_t group = 0; group < pt.head_groups * pt.label_groups; ++group) {
    weights.push_back({factor_weight(group, "u"), factor, "DD"});
    weights.push_back({factor_weight(group, "v"), factor, "DD"});
  }
  for (int64_t m = 0; m < pt.label_groups && !c.tie_word_embeddings; ++m) {
    weights.push_back({output_weight(c, m), table, "DD"});
  }
  return weights;
}

}  // namespace assay::golden
