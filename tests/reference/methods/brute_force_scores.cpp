#include "tests/reference/methods/brute_force_scores.h"

#include <cmath>

namespace assay::reference::testing {
namespace {

std::size_t at(int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

ScoreRule::ScoreRule(const ModelConfig& config, const Tensors& weights, const std::string& prefix,
                     int64_t layer, const Tensor& normed)
    : c_(config),
      weights_(weights),
      prefix_(prefix + "self_attn.score."),
      form_(config.form),
      layer_(layer),
      normed_(normed) {}

double ScoreRule::number(const std::string& name, int64_t i) const {
  return weights_.at(prefix_ + name).values[at(i)];
}

double ScoreRule::coefficient(int64_t i) const {
  const double Dh = double(c_.head_dim), m = double(layer_ + 1);
  const std::string& method = c_.method;
  if (method == "5.1") return 1 / std::sqrt(Dh);
  if (method == "5.2") return 1 / std::sqrt(Dh * m);
  if (method == "5.3") return 1 / (m * std::sqrt(Dh));
  if (method == "5.4") return 1 / (std::pow(Dh, number("a")) * std::pow(m, number("b")));
  if (method == "5.5" && form_ == "softmax") {
    double total = 0;
    for (int64_t k = 0; k <= layer_; ++k) total += std::exp(number("z", k));
    return m * std::exp(number("z", i)) / total / std::sqrt(Dh);
  }
  if (method == "5.5" && form_ == "free") return 1 / (number("a", i) * std::sqrt(Dh));
  if (method == "5.5") return 1 / (std::exp(number("alpha", i)) * std::sqrt(Dh));
  if (method == "5.6") {
    const double a = form_ == "log" ? std::exp(number("u", i)) : number("a", i);
    return 1 / (a * std::pow(Dh, number("b", i)));
  }
  if (method == "5.7") return 1 / (form_ == "log" ? std::exp(number("u", i)) : number("a", i));
  if (method == "5.8") return 1 / std::pow(Dh, number("a"));
  return i == layer_ ? 1 / std::sqrt(Dh) : 0;  // every other method attends plainly
}

double ScoreRule::gate(int64_t b, int64_t t, int64_t output) const {
  const int64_t D = c_.hidden_size, T = normed_.shape[1];
  const int64_t m = c_.method == "D-base" ? 1 : layer_ + 1;
  const double* h = normed_.values.data() + (b * T + t) * D;
  double mean = c_.score_gate_eps;
  for (int64_t d = 0; d < D; ++d) mean += h[d] * h[d] / double(D);
  double g = number("gate.bias", output);
  for (int64_t inner = 0; inner < m; ++inner) {
    double x = 0;
    for (int64_t d = 0; d < D; ++d) {
      x += number("gate.w1", inner * D + d) * number("gate.norm", d) * h[d] / std::sqrt(mean);
    }
    g += number("gate.w2", output * m + inner) * x * std::erfc(-x / std::sqrt(2.0)) / 2;
  }
  return g;
}

double ScoreRule::factor(int64_t i, int64_t b, int64_t t, int64_t s) const {
  const std::string& method = c_.method;
  const double scale = 1 / std::sqrt(double(c_.head_dim));
  const int64_t P = c_.score_positions;
  if (method == "5.1A") return std::exp(number("w", (i * P + t) * P + s)) * scale;
  if (method == "5.1B") return std::exp(number("w", i * P + s)) * scale;
  if (method == "5.1C") return std::exp(number("w", i * P + t)) * scale;
  if (method == "5.1D") return std::exp(gate(b, t, i)) * scale;
  if (method == "5.1E") return std::exp(gate(b, s, i)) * scale;
  if (method == "C-base") return i == layer_ ? (std::exp(number("w", t)) + 1) * scale : 0;
  if (method == "D-base") return i == layer_ ? std::exp(gate(b, t, 0)) * scale : 0;
  return coefficient(i);
}

double ScoreRule::offset(int64_t t) const { return c_.method == "C-base" ? number("c", t) : 0; }

}  // namespace assay::reference::testing
