#include "golden/contract/weights.h"

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "golden/contract/error.h"
#include "golden/contract/random.h"

namespace assay::golden {
namespace {

// One element from its index and two numbers of its own, uniform in (-1, 1).
using Draw = std::function<double(std::size_t i, double u, double second)>;

Draw uniform(double center, double half_width) {
  return [=](std::size_t, double u, double) { return round_to_bf16(center + half_width * u); };
}

// A uniform variable of standard deviation 1 reaches from -sqrt(3) to sqrt(3).
Draw matrix(const TensorInfo& weight, double gain) {
  return uniform(0.0, gain * std::sqrt(3.0 / static_cast<double>(weight.shape[1])));
}

// Factors U, V of the Probabilistic Transformer: head scores are sums of r products of two of them,
// whose deviation then does not depend on r.
Draw factor(const ModelConfig& config) {
  const auto rank = static_cast<double>(prob_transformer_of(config).rank);
  return uniform(0.0, 0.75 * std::sqrt(3.0) * std::pow(rank, -0.25));
}

Draw gpt2_draw(const TensorInfo& weight, const ModelConfig& c) {
  const double width = std::sqrt(3.0 / static_cast<double>(weight.shape[0]));  // stored [in,out]
  if (weight.name.ends_with(".bias")) return uniform(0.0, 0.5);
  if (weight.shape.size() == 1) return uniform(1.0, 0.5);  // a norm gain
  if (weight.name == "lm_head.weight") return matrix(weight, 1.0);
  if (weight.name == "transformer.wte.weight") return matrix(weight, 3.0);
  if (weight.name == "transformer.wpe.weight") return matrix(weight, 1.5);
  if (!weight.name.ends_with("c_attn.weight")) return uniform(0.0, width);
  const int64_t query_and_key = (c.num_attention_heads + c.num_key_value_heads) * c.head_dim;
  return [=, columns = weight.shape[1]](std::size_t i, double u, double) {
    const bool scores = static_cast<int64_t>(i) % columns < query_and_key;
    return round_to_bf16((scores ? 1.25 : 1.0) * width * u);
  };
}

Draw draw_of(const TensorInfo& weight, const ModelConfig& config) {
  if (config.block == BlockKind::gpt2) return gpt2_draw(weight, config);
  if (weight.name.ends_with(".bias")) return uniform(0.0, 0.5);
  if (weight.name.ends_with("q_norm.weight") || weight.name.ends_with("k_norm.weight")) {
    return uniform(1.25, 0.5);
  }
  if (weight.shape.size() == 1) return uniform(1.0, 0.5);  // a norm gain
  const bool unary = weight.name.starts_with("model.unary.");
  if (unary || weight.name == "model.embed_tokens.weight") return uniform(0.0, std::sqrt(3.0));
  if (weight.name.starts_with("model.groups.")) return factor(config);
  const bool scores = weight.name.find("q_proj") != std::string::npos ||
                      weight.name.find("k_proj") != std::string::npos;
  return matrix(weight, scores ? 1.25 : 1.0);
}

// Box and Muller, "A note on the generation of random normal deviates", 1958.
double normal(double u, double second) {
  return std::sqrt(-2 * std::log((u + 1) / 2)) * std::cos(M_PI * second);
}

double initial_value(Initial initial, const ModelConfig& config) {
  const auto head = static_cast<double>(config.head_dim);
  switch (initial) {
    case Initial::zero:
      return 0;
    case Initial::half:
      return 0.5;
    case Initial::one:
      return 1;
    case Initial::sqrt_head:
      return std::sqrt(head);
    case Initial::log_sqrt_head:
      return std::log(std::sqrt(head));
    case Initial::normal:
      break;
  }
  throw InternalError("initial_value: drawn, not a value");
}

Draw draw_of(const TensorInfo& weight, const Parameter& p, const ModelConfig& config) {
  const bool initial = config.params == Params::initial;
  if (p.initial == Initial::normal) {
    if (!initial) return matrix(weight, p.half_width);
    return [](std::size_t, double u, double second) {
      return round_to_bf16(0.02 * normal(u, second));
    };
  }
  const double start = initial_value(p.initial, config);
  if (initial) return [start](std::size_t, double, double) { return start; };
  if (!p.any_sign) return uniform(start + p.center, p.half_width);
  return [=](std::size_t i, double u, double) {
    const double size = round_to_bf16(start * (p.center + p.half_width * u));
    return i % 2 == 0 ? size : -size;
  };
}

double centered(uint32_t word) { return (word + 0.5) * 0x1p-31 - 1.0; }  // in (-1, 1), exact

}  // namespace

SyntheticWeights::SyntheticWeights(const ModelConfig& config, uint64_t seed)
    : config_(config), list_(weight_list(config)), seed_(seed) {
  for (int64_t l = 0; l < config.num_hidden_layers; ++l) {
    for (const LearnedWeight& w : learned_weights(config, l)) {
      learned_[w.info.name] = w.parameter;
    }
  }
}

void SyntheticWeights::read(const std::string& name, std::span<double> out) const {
  const auto weight =
      std::find_if(list_.begin(), list_.end(), [&](const TensorInfo& w) { return w.name == name; });
  if (weight == list_.end()) {
    throw InputError(fmt::format("weight {}: this model has no such weight", name));
  }
  if (element_count(weight->shape) != static_cast<int64_t>(out.size())) {
    throw InputError(fmt::format("weight {}: expected {}, got {} elements", name,
                                 shape_text(weight->shape), out.size()));
  }
  const auto learned = learned_.find(name);
  const Draw draw = learned == learned_.end() ? draw_of(*weight, config_)
                                              : draw_of(*weight, learned->second, config_);
  const uint64_t stream = stream_id(name), second = stream_id(name + "#2");
  constexpr std::size_t kChunk = 4096;
  const std::size_t chunks = (out.size() + kChunk - 1) / kChunk;
  tbb::parallel_for(std::size_t{0}, chunks, [&](std::size_t chunk) {
    const std::size_t first = chunk * kChunk, count = std::min(kChunk, out.size() - first);
    std::array<uint32_t, kChunk> words, more;
    random_words(seed_, stream, first, {words.data(), count});
    if (learned != learned_.end()) random_words(seed_, second, first, {more.data(), count});
    for (std::size_t i = 0; i < count; ++i) {
      const double other = learned == learned_.end() ? 0.0 : centered(more[i]);
      out[first + i] = draw(first + i, centered(words[i]), other);
    }
  });
}

MaskedTokens mask_tokens(const std::vector<int32_t>& tokens,
                         const std::vector<uint8_t>& attention_mask, int64_t vocab_size,
                         uint64_t seed) {
  std::vector<uint32_t> words(tokens.size());
  random_words(seed, stream_id("masked positions"), 0, words);
  MaskedTokens result{tokens, std::vector<int32_t>(tokens.size(), -100)};
  std::size_t least = tokens.size();  // the real position with the least word: masked in any case
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (attention_mask[i] != 0 && (least == tokens.size() || words[i] < words[least])) least = i;
  }
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool drawn = words[i] < 0.15 * 0x1p32 && attention_mask[i] != 0;
    if (!drawn && i != least) continue;
    result.labels[i] = tokens[i];
    result.tokens[i] = static_cast<int32_t>(vocab_size - 1);
  }
  return result;
}

std::vector<int32_t> synthetic_tokens(int64_t vocab_size, int64_t batch, int64_t positions,
                                      uint64_t seed) {
  std::vector<uint32_t> words(static_cast<std::size_t>(element_count({batch, positions})));
  random_words(seed, stream_id("tokens"), 0, words);
  std::vector<int32_t> tokens(words.size());
  for (std::size_t i = 0; i < words.size(); ++i) {
    // The high half of word * V is below V and as uniform as 32 bits allow.
    tokens[i] = static_cast<int32_t>(
        (static_cast<uint64_t>(words[i]) * static_cast<uint64_t>(vocab_size)) >> 32);
  }
  return tokens;
}

}  // namespace assay::golden
