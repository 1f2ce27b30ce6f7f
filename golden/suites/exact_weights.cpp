#include "golden/suites/exact_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "golden/contract/error.h"
#include "golden/contract/random.h"

namespace assay::golden {
namespace {

constexpr double kCarrier = 0x1p40;
constexpr double kTheta = 0x1p120;
constexpr int64_t kSigns = 8, kContent = 8;
constexpr int64_t kCodes = 4;       // b_j, c_j
constexpr double kMargin = 0x1p13;  // M
constexpr double kKeyCode = 64;     // c_j stands in k as +-64, 2 K / 64 in q
constexpr double kGateUnit = 0x1p10;

bool power_of_four(int64_t n) {
  return std::has_single_bit(static_cast<uint64_t>(n)) &&
         std::countr_zero(static_cast<uint64_t>(n)) % 2 == 0;
}

void expect(bool fits, const char* key, const char* expected, double got) {
  if (fits) return;
  throw InputError(fmt::format("exact weights: {}: expected {}, got {}", key, expected, got));
}

void check(const ModelConfig& c) {
  const auto number = [](int64_t n) { return static_cast<double>(n); };
  expect(power_of_four(c.hidden_size) && c.hidden_size >= 64 && c.hidden_size <= 256, "hidden_size",
         "64 or 256", number(c.hidden_size));
  expect(power_of_four(c.head_dim) && c.head_dim >= 16, "head_dim", "a power of four >= 16",
         number(c.head_dim));
  expect(std::has_single_bit(static_cast<uint64_t>(c.vocab_size)) && c.vocab_size >= 16 &&
             c.vocab_size <= 128,
         "vocab_size", "a power of two in 16 .. 128", number(c.vocab_size));
  expect(c.num_hidden_layers <= 3, "num_hidden_layers", "at most 3", number(c.num_hidden_layers));
  expect(c.num_key_value_heads <= 8, "num_key_value_heads", "at most 8",
         number(c.num_key_value_heads));
  expect(c.rope_theta == kTheta, "rope_theta", "2^120 = 1.329227995784916e36", c.rope_theta);
  expect(!c.rope_scaling.has_value(), "rope_scaling", "none", 1);
  expect(c.rms_norm_eps <= 1, "rms_norm_eps", "at most 1", c.rms_norm_eps);
  expect(!c.tie_word_embeddings, "tie_word_embeddings", "false", 1);
  expect(c.attention_bias == AttentionBias::none, "attention_bias", "none", 1);
  expect(!c.qk_norm, "qk_norm", "false", 1);
  if (c.residual != Residual::keep) {
    throw InputError(
        "exact weights: residual: expected keep: without the block's own residual the "
        "carrier is lost, got replace");
  }
}

// How often the gain of a channel doubles it.
class Gains {
 public:
  Gains(const std::string& norm, int64_t width, uint64_t seed)
      : words_(static_cast<std::size_t>(width)) {
    random_words(seed, stream_id("exact/" + norm), 0, words_);
  }
  double factor(int64_t channel) const {
    return channel == 0 ? 1 : 1.0 + words_[static_cast<std::size_t>(channel)] % 2;
  }

 private:
  std::vector<uint32_t> words_;
};

std::string norm_before(const std::string& stem, int64_t layer) {
  if (stem == "lm_head") return "model.norm.weight";
  const bool mlp = stem.starts_with("mlp.");
  return fmt::format("model.layers.{}.{}_layernorm.weight", layer,
                     mlp ? "post_attention" : "input");
}

}  // namespace

// A weight under construction: rows of coefficients of stream channels, and four random words a
// row.
class ExactWeights::Matrix {
 public:
  Matrix(const std::string& name, const Shape& shape, std::span<double> out, uint64_t seed)
      : rows(shape[0]),
        width_(shape.size() > 1 ? shape[1] : 1),
        out_(out),
        words_(static_cast<std::size_t>(4 * shape[0])) {
    random_words(seed, stream_id("exact/" + name), 0, words_);
    std::fill(out.begin(), out.end(), 0.0);
  }

  // Weights that read the stream after a norm undo its gains.
  void undo(const Gains& gains) { gains_ = &gains; }

  void add(int64_t row, int64_t channel, double coefficient) {
    const double gain = gains_ == nullptr ? 1 : gains_->factor(channel);
    out_[static_cast<std::size_t>(row * width_ + channel)] += coefficient / gain;
  }

  int64_t pick(int64_t row, int slot, int64_t count) const {
    return static_cast<int64_t>((word(row, slot) >> 8) % static_cast<uint64_t>(count));
  }
  double sign(int64_t row, int slot) const { return word(row, slot) % 2 == 0 ? 1 : -1; }
  int64_t width() const { return width_; }

  const int64_t rows;

 private:
  uint64_t word(int64_t row, int slot) const {
    return words_[static_cast<std::size_t>(4 * row + slot)];
  }

  int64_t width_;
  std::span<double> out_;
  std::vector<uint32_t> words_;
  const Gains* gains_ = nullptr;
};

ExactWeights::ExactWeights(const ModelConfig& config, uint64_t seed)
    : config_(config), seed_(seed), list_(weight_list(config)) {
  check(config);
  signs_ = 1 + config.num_key_value_heads;
  content_ = signs_ + kSigns;
  a_ = content_ + kContent;
  m_ = a_ + (config.hidden_size - a_) / 2;
}

void ExactWeights::read(const std::string& name, std::span<double> out) const {
  const auto weight =
      std::find_if(list_.begin(), list_.end(), [&](const TensorInfo& w) { return w.name == name; });
  if (weight == list_.end()) {
    throw InputError(fmt::format("weight {}: this model has no such weight", name));
  }
  if (element_count(weight->shape) != static_cast<int64_t>(out.size())) {
    throw InputError(fmt::format("weight {}: expected {}, got {} elements", name,
                                 shape_text(weight->shape), out.size()));
  }
  if (weight->shape.size() == 1) {  // a norm gain
    const Gains gains(name, config_.hidden_size, seed_);
    const double unit = kCarrier / std::sqrt(static_cast<double>(config_.hidden_size));
    for (std::size_t d = 0; d < out.size(); ++d) {
      out[d] = d == 0 ? 1 : unit * gains.factor(static_cast<int64_t>(d));
    }
    return;
  }
  std::string stem = name.substr(0, name.rfind(".weight"));
  int64_t layer = 0;
  if (const std::string prefix = "model.layers."; stem.starts_with(prefix)) {
    const char* digits = stem.data() + prefix.size();
    const auto end = std::from_chars(digits, stem.data() + stem.size(), layer).ptr;
    stem.erase(0, static_cast<std::size_t>(end + 1 - stem.data()));
  }
  Matrix matrix(name, weight->shape, out, seed_);
  const bool reads_stream = weight->shape[1] == config_.hidden_size && stem != "mlp.down_proj" &&
                            stem != "self_attn.o_proj" && stem != "model.embed_tokens";
  const Gains gains(norm_before(stem, layer), config_.hidden_size, seed_);
  if (reads_stream) matrix.undo(gains);
  fill(stem, layer, matrix);
}

void ExactWeights::fill(const std::string& stem, int64_t layer, Matrix& w) const {
  const int64_t a_count = m_ - a_, m_count = config_.hidden_size - m_;
  const auto random_term = [&](int64_t row, int slot, int64_t first, int64_t count, double unit) {
    w.add(row, first + w.pick(row, slot, count), unit * w.sign(row, slot));
  };
  if (stem == "model.embed_tokens") return embedding(w);
  if (stem == "self_attn.q_proj") return queries(layer, w);
  if (stem == "self_attn.k_proj") return keys(w);
  for (int64_t row = 0; row < w.rows; ++row) {
    if (stem == "self_attn.v_proj") {
      random_term(row, 0, content_, kContent, 1);
      random_term(row, 1, m_, m_count, 1);
    } else if (stem == "self_attn.o_proj") {
      if (row >= a_ && row < m_) random_term(row, 0, 0, w.width(), 1);
    } else if (stem == "mlp.gate_proj") {
      random_term(row, 0, content_, kContent, kGateUnit);
      random_term(row, 1, a_, a_count, kGateUnit);
    } else if (stem == "mlp.up_proj") {
      random_term(row, 0, signs_, kSigns, 1);
    } else if (stem == "mlp.down_proj") {
      if (row >= m_) random_term(row, 0, 0, w.width(), 1 / kGateUnit);
    } else if (stem == "lm_head") {
      random_term(row, 0, content_, kContent, 1);
      if (row % 2 == 0) random_term(row, 1, a_, a_count, 1);
      if (row % 2 == 1) random_term(row, 1, m_, m_count, 1);
    } else {
      throw InputError(fmt::format("exact weights: {}: no exact values for this weight", stem));
    }
  }
}

void ExactWeights::embedding(Matrix& w) const {
  for (int64_t token = 0; token < w.rows; ++token) {
    w.add(token, 0, kCarrier);
    for (int64_t g = 0; g < config_.num_key_value_heads; ++g) {
      const int64_t rank = ((2 * g + 1) * token + 7 * g) % config_.vocab_size + 1;
      w.add(token, 1 + g, static_cast<double>(rank));
    }
    for (int64_t i = 0; i < kSigns; ++i) {
      w.add(token, signs_ + i, (w.pick(token, 0, 256) >> i) % 2 == 0 ? 1 : -1);
    }
    for (int64_t i = 0; i < kContent; ++i) {
      const double magnitude = (w.pick(token, 1, 256) >> i) % 2 == 0 ? 1 : 3;
      w.add(token, content_ + i, (w.pick(token, 2, 256) >> i) % 2 == 0 ? magnitude : -magnitude);
    }
  }
}

// u stands in both members of pair 5 Dh/16, b_0 .. b_3 in those of the next two.
void ExactWeights::queries(int64_t layer, Matrix& w) const {
  const int64_t size = config_.head_dim, pair = 5 * size / 16, half = size / 2;
  const double unit = kMargin * std::ldexp(1.0, static_cast<int>(2 * layer));
  const double code_unit = unit * 2 * 16 * static_cast<double>(config_.vocab_size) / kKeyCode;
  for (int64_t h = 0; h < config_.num_attention_heads; ++h) {
    const int64_t first = h * size + pair;
    for (const int64_t row : {first, first + half}) w.add(row, signs_ + h % kSigns, unit);
    for (int64_t j = 0; j < kCodes; ++j) {
      const int64_t row = first + 1 + j / 2 + j % 2 * half;
      w.add(row, signs_ + (h + j + 1) % kSigns, code_unit);
      w.add(row, m_ + w.pick(row, 0, config_.hidden_size - m_), 2 * code_unit);
    }
  }
}

void ExactWeights::keys(Matrix& w) const {
  const int64_t size = config_.head_dim, pair = 5 * size / 16, half = size / 2;
  for (int64_t g = 0; g < config_.num_key_value_heads; ++g) {
    const int64_t first = g * size + pair;
    for (const int64_t row : {first, first + half}) w.add(row, 1 + g, 1);
    for (int64_t j = 0; j < kCodes; ++j) {
      w.add(first + 1 + j / 2 + j % 2 * half, signs_ + (2 * j + g) % kSigns, kKeyCode);
    }
  }
}

std::vector<int32_t> exact_tokens(int64_t vocab_size, int64_t batch, int64_t positions,
                                  uint64_t seed) {
  if (positions > vocab_size || !std::has_single_bit(static_cast<uint64_t>(vocab_size))) {
    throw InputError(
        fmt::format("exact tokens: expected at most V = {} positions, V a power of two, got {}",
                    vocab_size, positions));
  }
  std::vector<uint32_t> words(static_cast<std::size_t>(2 * batch));
  random_words(seed, stream_id("exact/tokens"), 0, words);
  std::vector<int32_t> tokens;
  for (std::size_t b = 0; b < static_cast<std::size_t>(batch); ++b) {
    const uint64_t odd = words[2 * b] | 1u, shift = words[2 * b + 1];
    for (uint64_t t = 0; t < static_cast<uint64_t>(positions); ++t) {
      tokens.push_back(static_cast<int32_t>((odd * t + shift) % static_cast<uint64_t>(vocab_size)));
    }
  }
  return tokens;
}

}  // namespace assay::golden
