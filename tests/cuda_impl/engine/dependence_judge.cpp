#include "dependence_judge.h"

#include <fmt/format.h>

#include <cctype>
#include <memory>
#include <optional>

#include "expected_sources.h"

namespace assay::dependences {
namespace {

using simt::SourceSet;

constexpr int64_t kVocabulary = 11;

class Judge {
 public:
  Judge(const ExpectedSources& expected, const Tokens& tokens)
      : expected_(expected), tokens_(tokens) {}

  void receive(const golden::TensorInfo& info, std::span<const double> values,
               std::span<const SourceSet> sources) {
    ++result.tensors;
    if (info.name == "logits") result.logits.assign(values.begin(), values.end());
    for (std::size_t i = 0; i < sources.size(); ++i) {
      ++result.elements;
      const Place place = place_of(info, static_cast<int64_t>(i));
      const SourceSet expected = expected_.at(info.name, place);
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

  const ExpectedSources& expected_;
  const Tokens& tokens_;
};

bool is_pt(const golden::ModelConfig& config) {
  return golden::find_method(config.method).family == golden::Family::prob_transformer;
}

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

golden::ModelConfig tiny_pt(golden::ProbTransformer::Message message) {
  golden::ModelConfig c = tiny("pt", 2);
  c.pt = {.message = message,
          .head_step = 0.6,
          .label_step = 0.7,
          .head_damping = 0.3,
          .label_damping = 0.4,
          .causal_heads = true,
          .output = golden::ProbTransformer::Output::causal};
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
  // Formed with the first tensor: a batch with more positions than sources is refused before it.
  std::unique_ptr<ExpectedSources> sources;
  std::optional<Judge> judge;
  cuda::trace_dependences(
      config, golden::SyntheticWeights(config, 7), tokens.view(),
      [&](const golden::TensorInfo& info, std::span<const double> values,
          std::span<const SourceSet> traced) {
        if (!judge) {
          sources = is_pt(expected) ? expected_of_pt(expected, tokens)
                                    : expected_of_transformer(expected, tokens);
          judge.emplace(*sources, tokens);
        }
        judge->receive(info, values, traced);
      },
      options);
  return std::move(judge->result);
}

}  // namespace assay::dependences
