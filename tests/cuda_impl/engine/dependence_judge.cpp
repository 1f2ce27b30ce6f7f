#include "dependence_judge.h"

#include <fmt/format.h>

#include <cctype>

namespace assay::dependences {
namespace {

using simt::SourceSet;

constexpr int64_t kVocabulary = 11;

// Where an element stands; -1 for an axis that its tensor does not have.
struct Place {
  int64_t b = -1, t = -1, s = -1;
};

class Judge {
 public:
  Judge(const golden::ModelConfig& config, const Tokens& tokens)
      : config_(config), tokens_(tokens), pre_norm_(config.norm == golden::NormPosition::pre) {
    for (int64_t layers = 0; layers <= config.num_hidden_layers; ++layers) add_reach();
  }

  void receive(const golden::TensorInfo& info, std::span<const double> values,
               std::span<const SourceSet> sources) {
    ++result.tensors;
    if (info.name == "logits") result.logits.assign(values.begin(), values.end());
    for (std::size_t i = 0; i < sources.size(); ++i) {
      ++result.elements;
      const Place place = place_of(info, static_cast<int64_t>(i));
      const SourceSet expected = expected_at(info.name, place);
      for (int source = 0; source < simt::kMaxSources; ++source) {
        const bool sees = sources[i].contains(source);
        result.dependences += sees;
        if (sees == expected.contains(source) || !result.first_fault.empty()) continue;
        result.first_fault =
            fmt::format("{} at {} {} {}", info.name, place_text(info, static_cast<int64_t>(i)),
                        sees ? "sees" : "does not see", source_text(source, place, sees));
      }
    }
  }

  Result result;

 private:
  static std::vector<int64_t> indices(const golden::TensorInfo& info, int64_t element) {
    std::vector<int64_t> index(info.shape.size());
    for (std::size_t axis = index.size(); axis-- > 0;) {
      index[axis] = element % info.shape[axis];
      element /= info.shape[axis];
    }
    return index;
  }

  static Place place_of(const golden::TensorInfo& info, int64_t element) {
    const std::vector<int64_t> index = indices(info, element);
    Place place;
    for (std::size_t axis = 0; axis < index.size(); ++axis) {
      const char letter = info.axes[axis];
      if (letter == 'B') place.b = index[axis];
      if (letter == 'T') place.t = index[axis];
      if (letter == 'S') place.s = index[axis];
    }
    return place;
  }

  static std::string place_text(const golden::TensorInfo& info, int64_t element) {
    const std::vector<int64_t> index = indices(info, element);
    std::string text = "(";
    for (std::size_t axis = 0; axis < index.size(); ++axis) {
      const int letter = std::tolower(info.axes[axis]);
      text += fmt::format("{}{}{}", axis == 0 ? "" : ",", static_cast<char>(letter), index[axis]);
    }
    return text + ")";
  }

  std::string source_text(int source, const Place& place, bool sees) const {
    const int64_t b = source / tokens_.T, s = source % tokens_.T;
    std::string text = fmt::format("(b{},s{})", b, s);
    if (!sees) return text;
    if (b >= tokens_.B) return text + ": memory that nobody wrote";
    if (place.b >= 0 && b != place.b) return text + ": another row of the batch";
    if (place.t >= 0 && s > place.t) return text + ": the future";
    return text + (tokens_.real(b, s) ? "" : ": padding");
  }

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
    for (const char* end : {"/input", "/q", "/k", "/v", "/scores"}) {
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

  SourceSet expected_at(const std::string& name, const Place& at) const {
    if (at.t < 0) return counted_positions();
    SourceSet own{};
    const int64_t layers = layers_behind(name);
    if (at.s >= 0) {  // a pair of query and key
      if (!visible(at.b, at.t, at.s)) return own;
      own = reach(layers, at.b, at.t);
      return name.ends_with("/scores") ? own | reach(layers, at.b, at.s) : own;
    }
    if (attention_only(name) && !sees_a_key(at.b, at.t)) return own;
    return reach(layers, at.b, at.t);
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

golden::ModelConfig tiny(const std::string& method, int64_t layers) {
  golden::ModelConfig c;
  c.hidden_size = 16;
  c.intermediate_size = 24;
  c.num_hidden_layers = layers;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_dim = 6;  // H*Dh = 24 is not D
  c.vocab_size = kVocabulary;
  c.max_position_embeddings = 64;
  c.method = method;
  return c;
}

golden::ModelConfig tiny_gpt2(const std::string& method, golden::NormPosition norm,
                              int64_t layers) {
  golden::ModelConfig c = tiny(method, layers);
  c.block = golden::BlockKind::gpt2;
  c.norm = norm;
  c.tie_word_embeddings = true;
  if (norm == golden::NormPosition::post) c.activation = golden::Activation::gelu;
  return c;
}

std::string text_of(const golden::ModelConfig& c) {
  return "method " + c.method + " on " + golden::block_name(c.block) +
         (c.norm == golden::NormPosition::pre ? " pre" : " post");
}

Tokens::Tokens(int64_t batch, int64_t positions, int64_t padding)
    : B(batch),
      T(positions),
      tokens(golden::synthetic_tokens(kVocabulary, batch, positions, 5)),
      mask(tokens.size(), 1),
      labels(tokens) {
  for (int64_t t = 0; t < padding; ++t) {
    mask[static_cast<std::size_t>(t)] = 0;
    labels[static_cast<std::size_t>(t)] = -100;
  }
}

Result judge(const golden::ModelConfig& config, const Tokens& tokens,
             const cuda::ModelOptions& options) {
  return judge(config, config, tokens, options);
}

Result judge(const golden::ModelConfig& config, const golden::ModelConfig& expected,
             const Tokens& tokens, const cuda::ModelOptions& options) {
  Judge judge(expected, tokens);
  cuda::trace_dependences(
      config, golden::SyntheticWeights(config, 7), tokens.view(),
      [&](const golden::TensorInfo& info, std::span<const double> values,
          std::span<const SourceSet> sources) { judge.receive(info, values, sources); },
      options);
  return std::move(judge.result);
}

}  // namespace assay::dependences
