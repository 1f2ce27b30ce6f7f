// What the kernels of the Probabilistic Transformer compute from what. With causal heads every element
// of every tensor depends on exactly the past that the specification gives it. Heads on both sides are
// compared with the reference's graph, in dependences_graph_test.cpp.
#include <boost/test/unit_test.hpp>

#include "dependence_judge.h"
#include "tests/reference/prob_transformer/variants.h"

using namespace assay;
using dependences::Tokens;
using golden::ModelConfig;
using golden::ProbTransformer;
using reference::testing::pt_config;
using simt::SourceSet;

namespace {

// Of a model with causal heads and schedule async.
class Expected {
 public:
  explicit Expected(const Tokens& tokens) : tokens_(tokens) {}

  // Of an element at (b,t), or of the pair of word t and head s.
  SourceSet of(const std::string& name, int64_t b, int64_t t) const {
    SourceSet own{};
    add(own, b, t);
    const bool first_round = name.starts_with("pt/0/") || name == "pt/1/q" || name == "pt/1/k";
    if (name == "embed" || first_round) return own;
    if (name.find("/message/") != std::string::npos && !has_head(b, t)) return {};
    return past(b, t);
  }
  SourceSet of_pair(const std::string& name, int64_t b, int64_t t, int64_t s) const {
    if (!visible(b, t, s) || name == "pt/0/heads") return {};  // those are even
    if (name != "pt/1/scores") return past(b, t);
    SourceSet pair{};
    add(pair, b, t);
    add(pair, b, s);
    return pair;
  }
  // Of the loss: what the positions ahead of a label see.
  SourceSet of_loss() const {
    SourceSet all{};
    for (int64_t b = 0; b < tokens_.B; ++b) {
      for (int64_t t = 0; t + 1 < tokens_.T; ++t) {
        const auto next = static_cast<std::size_t>(b * tokens_.T + t + 1);
        if (tokens_.labels[next] >= 0) all = all | past(b, t);
      }
    }
    return all;
  }

 private:
  void add(SourceSet& set, int64_t b, int64_t t) const {
    set.add(static_cast<int>(b * tokens_.T + t));
  }
  bool visible(int64_t b, int64_t t, int64_t s) const {
    return s < t && tokens_.real(b, t) && tokens_.real(b, s);
  }
  bool has_head(int64_t b, int64_t t) const {
    for (int64_t s = 0; s < t; ++s) {
      if (visible(b, t, s)) return true;
    }
    return false;
  }
  SourceSet past(int64_t b, int64_t t) const {
    SourceSet set{};
    add(set, b, t);
    for (int64_t s = 0; s < t; ++s) {
      if (visible(b, t, s)) add(set, b, s);
    }
    return set;
  }

  const Tokens& tokens_;
};

// Where an element stands on the axis of that letter; -1 without one.
int64_t place(const golden::TensorInfo& info, char axis, int64_t element) {
  for (std::size_t i = info.shape.size(); i-- > 0; element /= info.shape[i]) {
    if (info.axes[i] == axis) return element % info.shape[i];
  }
  return -1;
}

void check_exact(const ModelConfig& config, const Tokens& tokens) {
  const Expected expected(tokens);
  std::size_t tensors = 0;
  cuda::trace_dependences(
      config, golden::SyntheticWeights(config, 7), tokens.view(),
      [&](const golden::TensorInfo& info, std::span<const double>, const auto& traced) {
        ++tensors;
        int64_t differences = 0;
        for (std::size_t i = 0; i < traced.size(); ++i) {
          const auto element = static_cast<int64_t>(i);
          const int64_t b = place(info, 'B', element), s = place(info, 'S', element);
          const int64_t t = place(info, 'T', element);
          const SourceSet due = t < 0   ? expected.of_loss()
                                : s < 0 ? expected.of(info.name, b, t)
                                        : expected.of_pair(info.name, b, t, s);
          differences += !(traced[i] == due);
        }
        BOOST_TEST(differences == 0, info.name << ": " << differences << " elements");
      });
  BOOST_TEST(tensors == golden::tensor_list(config, tokens.B, tokens.T).size());
}

}  // namespace

// One tile and two; with padding ahead of the words and among them.
BOOST_AUTO_TEST_CASE(with_causal_heads_every_element_depends_on_its_past_and_on_nothing_else) {
  for (const auto message : {ProbTransformer::Message::head, ProbTransformer::Message::symmetric}) {
    for (const bool distances : {false, true}) {
      ModelConfig config = pt_config({.message = message,
                                      .head_step = 0.6,
                                      .label_step = 0.7,
                                      .head_damping = 0.3,
                                      .label_damping = 0.4,
                                      .causal_heads = true,
                                      .output = ProbTransformer::Output::causal});
      config.max_position_embeddings = 64;
      if (distances) config.pt.distances = std::vector<int64_t>{2, 4};
      check_exact(config, Tokens(2, 9, 0));
      Tokens padded(2, 9, 3);
      padded.mask[9 + 4] = 0;
      check_exact(config, padded);
      check_exact(config, Tokens(2, 34, 0));
      check_exact(config, Tokens(2, 34, 33));
    }
  }
}
