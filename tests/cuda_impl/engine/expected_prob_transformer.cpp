// The Probabilistic Transformer: every round hears the labels of the words that may be heads.
#include "expected_sources.h"
#include "golden/contract/error.h"

namespace assay::dependences {
namespace {

using simt::SourceSet;

// With causal heads and schedule async.
class ProbTransformer final : public ExpectedSources {
 public:
  explicit ProbTransformer(const Tokens& tokens) : tokens_(tokens) {}

  SourceSet at(const std::string& name, const Place& place) const override {
    if (place.t < 0) return of_loss();
    return place.s < 0 ? of(name, place.b, place.t) : of_pair(name, place.b, place.t, place.s);
  }

 private:
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

}  // namespace

std::unique_ptr<ExpectedSources> expected_of_pt(const golden::ModelConfig& config,
                                                const Tokens& tokens) {
  const bool async = config.pt.schedule == golden::ProbTransformer::Schedule::async;
  if (!config.pt.causal_heads || !async) {
    throw InputError("pt: dependences are known for causal heads with the schedule async");
  }
  return std::make_unique<ProbTransformer>(tokens);
}

}  // namespace assay::dependences
