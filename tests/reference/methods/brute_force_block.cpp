#include "tests/reference/methods/brute_force_block.h"

#include <cmath>

namespace assay::reference::testing {
namespace {

std::size_t at(int64_t i) { return static_cast<std::size_t>(i); }

// x Phi(x), with Phi from the complementary error function.
double gelu(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

// (1 + tanh(u)) / 2 is the logistic function of 2u.
double gelu_new(double x) {
  const double u = std::sqrt(2 / M_PI) * (x + 0.044715 * std::pow(x, 3));
  return x / (1 + std::exp(-2 * u));
}

}  // namespace

BruteForceBlock::BruteForceBlock(const ModelConfig& config, const Inputs& inputs,
                                 const Tensors& weights)
    : c_(config),
      in_(inputs),
      weights_(weights),
      B_(inputs.batch),
      T_(inputs.positions),
      gpt2_(config.block == golden::BlockKind::gpt2) {}

Tensor BruteForceBlock::embed() const {
  const int64_t D = c_.hidden_size;
  const Tensor& table = weights_.at(gpt2_ ? "transformer.wte.weight" : "model.embed_tokens.weight");
  Tensor x{{B_, T_, D}, {}};
  for (int64_t row = 0; row < B_ * T_; ++row) {
    for (int64_t d = 0; d < D; ++d) {
      x.values.push_back(table.values[at(int64_t(in_.tokens[at(row)]) * D + d)]);
      if (gpt2_) {
        x.values.back() += weights_.at("transformer.wpe.weight").values[at(row % T_ * D + d)];
      }
    }
  }
  return x;
}

Tensor BruteForceBlock::attn_norm(int64_t l, const Tensor& x) const {
  return norm(x, below(l, "input_layernorm", "ln_1"));
}

Tensor BruteForceBlock::query(int64_t l, const Tensor& h) const {
  const int64_t H = c_.num_attention_heads;
  if (gpt2_) return heads(matrix(h, below(l, "", "attn.c_attn"), 0, H * c_.head_dim), H);
  return heads(matrix(h, below(l, "self_attn.q_proj", "")), H);
}

Tensor BruteForceBlock::key(int64_t l, const Tensor& h) const {
  const int64_t H = c_.num_attention_heads, Hkv = c_.num_key_value_heads, Dh = c_.head_dim;
  if (gpt2_) return heads(matrix(h, below(l, "", "attn.c_attn"), H * Dh, Hkv * Dh), Hkv);
  return heads(matrix(h, below(l, "self_attn.k_proj", "")), Hkv);
}

Tensor BruteForceBlock::head_norm(int64_t l, const char* name, const Tensor& heads) const {
  return norm(heads, below(l, name, ""));
}

Tensor BruteForceBlock::value(int64_t l, const Tensor& h) const {
  const int64_t H = c_.num_attention_heads, Hkv = c_.num_key_value_heads, Dh = c_.head_dim;
  if (gpt2_) return heads(matrix(h, below(l, "", "attn.c_attn"), (H + Hkv) * Dh, Hkv * Dh), Hkv);
  return heads(matrix(h, below(l, "self_attn.v_proj", "")), Hkv);
}

Tensor BruteForceBlock::attn_out(int64_t l, const Tensor& context) const {
  return matrix(context, below(l, "self_attn.o_proj", "attn.c_proj"));
}

Tensor BruteForceBlock::mlp_norm(int64_t l, const Tensor& x) const {
  return norm(x, below(l, "post_attention_layernorm", "ln_2"));
}

Tensor BruteForceBlock::gate(int64_t l, const Tensor& n) const {
  return matrix(n, below(l, "mlp.gate_proj", ""));
}

Tensor BruteForceBlock::up(int64_t l, const Tensor& n) const {
  return matrix(n, below(l, "mlp.up_proj", "mlp.c_fc"));
}

Tensor BruteForceBlock::act(int64_t l, const Tensor& n) const {
  Tensor y = up(l, n);
  if (!gpt2_) {
    const Tensor g = gate(l, n);
    for (std::size_t i = 0; i < y.values.size(); ++i) {
      y.values[i] *= g.values[i] / (1 + std::exp(-g.values[i]));
    }
    return y;
  }
  for (double& x : y.values) x = c_.activation == golden::Activation::gelu ? gelu(x) : gelu_new(x);
  return y;
}

Tensor BruteForceBlock::mlp_out(int64_t l, const Tensor& act) const {
  return matrix(act, below(l, "mlp.down_proj", "mlp.c_proj"));
}

Tensor BruteForceBlock::final_norm(const Tensor& x) const {
  return norm(x, gpt2_ ? "transformer.ln_f" : "model.norm");
}

Tensor BruteForceBlock::logits(const Tensor& x) const {
  const std::string table = gpt2_ ? "transformer.wte" : "model.embed_tokens";
  const Tensor& w = weights_.at((c_.tie_word_embeddings ? table : "lm_head") + ".weight");
  const int64_t D = c_.hidden_size;
  Tensor y{{B_, T_, c_.vocab_size}, {}};
  for (int64_t i = 0; i < B_ * T_ * c_.vocab_size; ++i) {
    const int64_t row = i / c_.vocab_size, v = i % c_.vocab_size;
    double sum = 0;
    for (int64_t d = 0; d < D; ++d) sum += x.values[at(row * D + d)] * w.values[at(v * D + d)];
    y.values.push_back(sum);
  }
  return y;
}

Tensor BruteForceBlock::loss(const Tensor& logits) const {
  const int64_t V = c_.vocab_size;
  double total = 0, count = 0;
  for (int64_t row = 0; row < B_ * T_; ++row) {
    if (row % T_ == T_ - 1 || in_.labels[at(row + 1)] == -100) continue;
    const double* z = logits.values.data() + row * V;
    double sum = 0;
    for (int64_t v = 0; v < V; ++v) sum += std::exp(z[v] - z[int64_t(in_.labels[at(row + 1)])]);
    total += std::log(sum);
    ++count;
  }
  return {{}, {count == 0 ? 0 : total / count}};
}

Tensor BruteForceBlock::products(const Tensor& q, const Tensor& k) const {  // [B,H,T,T]
  const int64_t H = c_.num_attention_heads, Dh = c_.head_dim;
  Tensor s{{B_, H, T_, T_}, {}};
  for (int64_t row = 0; row < B_ * H * T_; ++row) {
    for (int64_t key = 0; key < T_; ++key) {
      double sum = 0;
      for (int64_t d = 0; d < Dh; ++d) {
        sum += q.values[at(row * Dh + d)] * k.values[at(key_row(row / T_, key) * Dh + d)];
      }
      s.values.push_back(sum);
    }
  }
  return s;
}

// The row of position s in [B,Hkv,T,..] that plane b*H + h of the query heads reads.
int64_t BruteForceBlock::key_row(int64_t plane, int64_t s) const {
  const int64_t H = c_.num_attention_heads, Hkv = c_.num_key_value_heads;
  const int64_t b = plane / H, h = plane % H;
  return (b * Hkv + h / (H / Hkv)) * T_ + s;
}

Tensor BruteForceBlock::softmax(const Tensor& x) const {
  Tensor p = x;
  for (std::size_t row = 0; row < x.values.size(); row += at(T_)) {
    double most = -INFINITY, total = 0;
    for (std::size_t s = 0; s < at(T_); ++s) most = std::fmax(most, x.values[row + s]);
    for (std::size_t s = 0; s < at(T_); ++s) {
      p.values[row + s] = most == -INFINITY ? 0 : std::exp(x.values[row + s] - most);
      total += p.values[row + s];
    }
    for (std::size_t s = 0; s < at(T_); ++s) p.values[row + s] /= total == 0 ? 1 : total;
  }
  return p;
}

Tensor BruteForceBlock::weighted(const Tensor& p, const Tensor& v) const {  // [B,T,H*Dh]
  const int64_t H = c_.num_attention_heads, Dh = c_.head_dim;
  Tensor y{{B_, T_, H * Dh}, std::vector<double>(at(B_ * T_ * H * Dh), 0.0)};
  for (int64_t plane = 0; plane < B_ * H; ++plane) {
    for (int64_t t = 0; t < T_; ++t) {
      for (int64_t d = 0; d < Dh; ++d) {
        double& sum = y.values[at(((plane / H * T_ + t) * H + plane % H) * Dh + d)];
        for (int64_t s = 0; s < T_; ++s) {
          sum += p.values[at((plane * T_ + t) * T_ + s)] * v.values[at(key_row(plane, s) * Dh + d)];
        }
      }
    }
  }
  return y;
}

bool BruteForceBlock::allowed(int64_t l, int64_t row, int64_t s) const {
  const int64_t t = row % T_, b = row / T_ / c_.num_attention_heads;
  bool full = c_.window == 0;
  for (const int64_t layer : c_.full_layers) full = full || layer == l;
  const bool near = full || t - s < c_.window || s < c_.sink_tokens;
  return s <= t && near && is_real(b, s);
}

bool BruteForceBlock::is_real(int64_t b, int64_t t) const {
  return in_.attention_mask[at(b * T_ + t)] != 0;
}

// The variance as half the mean squared difference of all pairs, which needs no mean.
Tensor BruteForceBlock::norm(const Tensor& x, const std::string& name) const {
  const Tensor& gain = weights_.at(name + ".weight");
  const std::size_t D = gain.values.size();
  Tensor y = x;
  for (std::size_t row = 0; row < x.values.size(); row += D) {
    const double* from = x.values.data() + row;
    double mean = 0, squares = 0, pairs = 0;
    for (std::size_t d = 0; d < D; ++d) {
      mean += from[d] / double(D);
      squares += std::pow(from[d], 2) / double(D);
      for (std::size_t e = 0; e < d; ++e) pairs += std::pow((from[d] - from[e]) / double(D), 2);
    }
    for (std::size_t d = 0; d < D; ++d) {
      y.values[row + d] =
          gpt2_ ? gain.values[d] * (from[d] - mean) / std::sqrt(pairs + c_.layer_norm_eps) +
                      weights_.at(name + ".bias").values[d]
                : gain.values[d] * from[d] / std::sqrt(squares + c_.rms_norm_eps);
    }
  }
  return y;
}

Tensor BruteForceBlock::matrix(const Tensor& x, const std::string& name, int64_t first,
                               int64_t count) const {
  const Tensor& w = weights_.at(name + ".weight");
  const int64_t K = w.shape[gpt2_ ? 0 : 1], N = w.shape[gpt2_ ? 1 : 0];
  Tensor y{{B_, T_, count}, {}};
  for (int64_t row = 0; row < B_ * T_; ++row) {
    for (int64_t n = first; n < first + count; ++n) {
      const auto bias = weights_.find(name + ".bias");
      double sum = bias == weights_.end() ? 0 : bias->second.values[at(n)];
      for (int64_t k = 0; k < K; ++k) {
        sum += x.values[at(row * K + k)] * w.values[at(gpt2_ ? k * N + n : n * K + k)];
      }
      y.values.push_back(sum);
    }
  }
  return y;
}

Tensor BruteForceBlock::matrix(const Tensor& x, const std::string& name) const {
  return matrix(x, name, 0, weights_.at(name + ".weight").shape[gpt2_ ? 1 : 0]);
}

Tensor BruteForceBlock::heads(const Tensor& x, int64_t count) const {  // [B,T,n*Dh] to [B,n,T,Dh]
  const int64_t Dh = c_.head_dim;
  Tensor y{{B_, count, T_, Dh}, {}};
  for (int64_t b = 0; b < B_; ++b) {
    for (int64_t h = 0; h < count; ++h) {
      for (int64_t t = 0; t < T_; ++t) {
        for (int64_t d = 0; d < Dh; ++d) {
          y.values.push_back(x.values[at(((b * T_ + t) * count + h) * Dh + d)]);
        }
      }
    }
  }
  return y;
}

// The wavelength form of rope_scaling "llama3", as its authors write it.
double BruteForceBlock::frequency(int64_t i) const {
  const double f = 1 / std::pow(c_.rope_theta, 2.0 * double(i) / double(c_.head_dim));
  if (!c_.rope_scaling) return f;
  const auto& scaling = *c_.rope_scaling;
  const double wavelength = 2 * M_PI / f;
  const auto original = double(scaling.original_max_position_embeddings);
  if (wavelength < original / scaling.high_freq_factor) return f;
  if (wavelength > original / scaling.low_freq_factor) return f / scaling.factor;
  const double smooth = (original / wavelength - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * f / scaling.factor + smooth * f;
}

Tensor BruteForceBlock::turned(const Tensor& x) const {
  if (gpt2_) return x;
  const int64_t Dh = c_.head_dim, half = Dh / 2;
  Tensor y = x;
  for (int64_t i = 0; i < golden::element_count(x.shape); ++i) {
    const int64_t d = i % Dh, t = i / Dh % T_;
    const double angle_rad = double(t) * frequency(d % half);
    const double partner = d < half ? -x.values[at(i + half)] : x.values[at(i - half)];
    y.values[at(i)] = x.values[at(i)] * std::cos(angle_rad) + partner * std::sin(angle_rad);
  }
  return y;
}

std::string BruteForceBlock::below(int64_t l, const char* llama, const char* gpt2) const {
  return (gpt2_ ? "transformer.h." : "model.layers.") + std::to_string(l) + "." +
         (gpt2_ ? gpt2 : llama);
}

}  // namespace assay::reference::testing
