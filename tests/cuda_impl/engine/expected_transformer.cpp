// A method of the Transformer: who sees whom after so many layers of attention.
#include "expected_sources.h"

namespace assay::dependences {
namespace {

using simt::SourceSet;

class Transformer final : public ExpectedSources {
 public:
  Transformer(const golden::ModelConfig& config, const Tokens& tokens)
      : config_(config), tokens_(tokens), pre_norm_(config.norm == golden::NormPosition::pre) {
    for (int64_t layers = 0; layers <= config.num_hidden_layers; ++layers) add_reach();
  }

  SourceSet at(const std::string& name, const Place& place) const override {
    if (place.t < 0) return counted_positions();
    SourceSet own{};
    const int64_t layers = layers_behind(name);
    if (place.s >= 0) {  // a pair of query and key
      if (!visible(place.b, place.t, place.s)) return own;
      own = reach(layers, place.b, place.t);
      return name.ends_with("/scores") ? own | reach(layers, place.b, place.s) : own;
    }
    if (attention_only(name) && !sees_a_key(place.b, place.t)) return own;
    return reach(layers, place.b, place.t);
  }

 private:
  void add(SourceSet& set, int64_t b, int64_t t) const {
    set.add(static_cast<int>(b * tokens_.T + t));
  }
  bool visible(int64_t b, int64_t t, int64_t s) const {
    const bool near = config_.window == 0 || t - s < config_.window || s < config_.sink_tokens;
    return s <= t && near && tokens_.real(b, s);
  }

  // What the stream of position t is made of after so many layers: at first of itself, then of what
  // it was and what every key was that it sees.
  SourceSet reach(int64_t layers, int64_t b, int64_t t) const {
    return reach_[static_cast<std::size_t>((layers * tokens_.B + b) * tokens_.T + t)];
  }
  void add_reach() {
    const int64_t layers = static_cast<int64_t>(reach_.size()) / (tokens_.B * tokens_.T);
    for (int64_t b = 0; b < tokens_.B; ++b) {
      for (int64_t t = 0; t < tokens_.T; ++t) {
        SourceSet set{};
        add(set, b, t);
        for (int64_t s = 0; s <= t && layers > 0; ++s) {
          if (visible(b, t, s)) set = set | reach(layers - 1, b, s);
        }
        reach_.push_back(set);
      }
    }
  }

  bool sees_a_key(int64_t b, int64_t t) const {
    for (int64_t s = 0; s <= t; ++s) {
      if (visible(b, t, s)) return true;
    }
    return false;
  }

  // How many layers of attention lie behind a tensor: those before its own layer, and its own.
  int64_t layers_behind(const std::string& name) const {
    if (name == "embed") return 0;
    if (!name.starts_with("layers/")) return config_.num_hidden_layers;
    const int64_t layer = std::stoll(name.substr(7));
    for (const char* end :
         {"/input", "/q", "/k", "/v", "/q_proj", "/k_proj", "/q_norm", "/k_norm", "/scores"}) {
      if (name.ends_with(end)) return layer;
    }
    return pre_norm_ && name.ends_with("/attn_norm") ? layer : layer + 1;
  }

  // Made of attention and constants alone: a position without a visible key gets nothing.
  static bool attention_only(const std::string& name) {
    for (const char* end : {"/context", "/attn/out", "/attn_out", "/attn/sum"}) {
      if (name.ends_with(end)) return true;
    }
    return false;
  }

  // Of the loss: whatever the positions with a label see.
  SourceSet counted_positions() const {
    SourceSet set{};
    for (int64_t b = 0; b < tokens_.B; ++b) {
      for (int64_t t = 0; t + 1 < tokens_.T; ++t) {
        const bool counted = tokens_.labels[static_cast<std::size_t>(b * tokens_.T + t + 1)] >= 0;
        if (counted) set = set | reach(config_.num_hidden_layers, b, t);
      }
    }
    return set;
  }

  golden::ModelConfig config_;
  const Tokens& tokens_;
  bool pre_norm_;
  std::vector<SourceSet> reach_;  // [L+1,B,T]
};

}  // namespace

std::unique_ptr<ExpectedSources> expected_of_transformer(const golden::ModelConfig& config,
                                                         const Tokens& tokens) {
  return std::make_unique<Transformer>(config, tokens);
}

}  // namespace assay::dependences
