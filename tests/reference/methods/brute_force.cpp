#include "tests/reference/methods/brute_force.h"

#include <cmath>
#include <string>

#include "tests/reference/methods/brute_force_scores.h"

namespace assay::reference::testing {
namespace {

class Evaluator {
 public:
  Evaluator(const ModelConfig& config, const Inputs& inputs, const Tensors& weights)
      : c_(config), in_(inputs), weights_(weights), B_(inputs.batch), T_(inputs.positions) {}

  Tensors run() {
    const Tensor& table = weights_.at("model.embed_tokens.weight");
    Tensor x{{B_, T_, c_.hidden_size}, {}};
    for (const double token : in_.tokens) {
      for (int64_t d = 0; d < c_.hidden_size; ++d) {
        x.values.push_back(table.values[at(int64_t(token) * c_.hidden_size + d)]);
      }
    }
    out_["embed"] = x;
    for (int64_t l = 0; l < c_.num_hidden_layers; ++l) x = layer(l, x);
    const Tensor last = out_["final_norm"] = norm(x, "model.norm");
    const std::string head = c_.tie_word_embeddings ? "model.embed_tokens" : "lm_head";
    out_["logits"] = matrix(last, head);
    out_["loss"] = loss(out_["logits"]);
    return std::move(out_);
  }

 private:
  static std::size_t at(int64_t i) { return static_cast<std::size_t>(i); }
  std::string here(int64_t l) const { return "layers/" + std::to_string(l) + "/"; }
  std::string weight(int64_t l) const { return "model.layers." + std::to_string(l) + "."; }

  Tensor layer(int64_t l, const Tensor& x) {  // X_l to X_{l+1}
    const std::string to = here(l), w = weight(l);
    out_[to + "input"] = x;
    const Tensor h = out_[to + "attn_norm"] = norm(x, w + "input_layernorm");
    const Tensor q = out_[to + "attn/q"] =
        turned(heads(matrix(h, w + "self_attn.q_proj"), c_.num_attention_heads));
    const Tensor k = out_[to + "attn/k"] =
        turned(heads(matrix(h, w + "self_attn.k_proj"), c_.num_key_value_heads));
    const Tensor v = out_[to + "attn/v"] =
        heads(matrix(h, w + "self_attn.v_proj"), c_.num_key_value_heads);
    raw_scores_.push_back(products(q, k));
    const Tensor scores = out_[to + "attn/scores"] = entering_scores(l, h);
    const Tensor probs = out_[to + "attn/probs"] = softmax(scores);
    const Tensor context = out_[to + "attn/context"] = weighted(probs, v);
    const Tensor o = out_[to + "attn/out"] = matrix(context, w + "self_attn.o_proj");
    const Tensor y = out_[to + "attn_residual"] = after(l, "attn", x, x, o);
    const Tensor n = out_[to + "mlp_norm"] = norm(y, w + "post_attention_layernorm");
    const Tensor gate = out_[to + "mlp/gate"] = matrix(n, w + "mlp.gate_proj");
    const Tensor up = out_[to + "mlp/up"] = matrix(n, w + "mlp.up_proj");
    const Tensor act = out_[to + "mlp/act"] = gated(gate, up);
    const Tensor u = out_[to + "mlp/out"] = matrix(act, w + "mlp.down_proj");
    return out_[to + "output"] = after(l, "mlp", x, y, u);
  }

  // What follows a site with its own residual and output: plainly their sum.
  Tensor after(int64_t l, const std::string& site, const Tensor& x, const Tensor& residual,
               const Tensor& own) {
    const std::string& method = c_.method;
    const bool plan_a = method == "1-plan-a";
    const bool at_mlp = method == "1" || method.starts_with("3.");
    const bool at_attn = method == "2" || method.starts_with("4.") || method.starts_with("1-plan");
    if (l == 0 || !(site == "mlp" ? at_mlp : at_attn)) return plus(residual, own);
    const std::vector<Tensor> again = recomputed(l, x, at_mlp);
    const Tensor added = out_[here(l) + site + "/sum"] = combined(l, again, own);
    const bool own_inside = method.starts_with("3.") || method.starts_with("4.");
    const Tensor rest = own_inside || plan_a ? added : plus(own, added);
    return c_.residual == golden::Residual::keep ? plus(residual, rest) : rest;
  }

  // The sum, the mean or the learned mean of what earlier layers give and, in means, the own output.
  Tensor combined(int64_t l, const std::vector<Tensor>& again, const Tensor& own) {
    std::vector<double> w(again.size() + 1, 1.0);
    if (c_.method.ends_with(".1")) std::fill(w.begin(), w.end(), 1 / double(l + 1));
    if (c_.method.ends_with(".2")) {
      double total = 0;
      for (std::size_t j = 0; j < w.size(); ++j) {
        total += w[j] = std::exp(weights_.at(weight(l) + "mix.weight").values[j]);
      }
      for (double& share : w) share /= total;
    }
    if (!c_.method.ends_with(".1") && !c_.method.ends_with(".2")) w.back() = 0;
    Tensor sum = own;
    for (std::size_t i = 0; i < sum.values.size(); ++i) {
      sum.values[i] *= w.back();
      for (std::size_t j = 0; j < again.size(); ++j) sum.values[i] += w[j] * again[j].values[i];
    }
    return sum;
  }

  // r_{j>l}, or o_{j>l}, for every j < l: layer j on X_l
  std::vector<Tensor> recomputed(int64_t l, const Tensor& x, bool with_mlp) {
    std::vector<Tensor> all;
    for (int64_t j = 0; j < l; ++j) {
      const std::string to = here(l) + "recompute/" + std::to_string(j) + "/", w = weight(j);
      const Tensor h = out_[to + "attn_norm"] = norm(x, w + "input_layernorm");
      const Tensor v = out_[to + "v"] =
          heads(matrix(h, w + "self_attn.v_proj"), c_.num_key_value_heads);
      const Tensor context = out_[to + "context"] = weighted(out_.at(here(j) + "attn/probs"), v);
      all.push_back(out_[to + "attn_out"] = matrix(context, w + "self_attn.o_proj"));
      if (!with_mlp) continue;
      const Tensor n = out_[to + "mlp_norm"] =
          norm(plus(x, all.back()), w + "post_attention_layernorm");
      const Tensor act = out_[to + "mlp_act"] =
          gated(matrix(n, w + "mlp.gate_proj"), matrix(n, w + "mlp.up_proj"));
      all.back() = out_[to + "mlp_out"] = matrix(act, w + "mlp.down_proj");
    }
    return all;
  }

  // The method's combination of the scores of layers 0..l, and -inf where not allowed.
  Tensor entering_scores(int64_t l, const Tensor& normed) const {
    const ScoreRule rule(c_, weights_, weight(l), l, normed);
    Tensor scores = raw_scores_[at(l)];
    const int64_t H = c_.num_attention_heads;
    for (int64_t i = 0; i < golden::element_count(scores.shape); ++i) {
      const int64_t s = i % T_, t = i / T_ % T_, b = i / T_ / T_ / H;
      double sum = rule.offset(t);
      for (int64_t j = 0; j <= l; ++j) {
        sum += rule.factor(j, b, t, s) * raw_scores_[at(j)].values[at(i)];
      }
      const bool allowed = s <= t && in_.attention_mask[at(b * T_ + s)] != 0;
      scores.values[at(i)] = allowed ? sum : -INFINITY;
    }
    return scores;
  }

  Tensor norm(const Tensor& x, const std::string& name) const {
    const Tensor& gain = weights_.at(name + ".weight");
    const int64_t D = gain.shape[0];
    Tensor y = x;
    for (std::size_t row = 0; row < x.values.size(); row += at(D)) {
      double mean = 0;
      for (std::size_t d = 0; d < at(D); ++d) mean += std::pow(x.values[row + d], 2) / double(D);
      for (std::size_t d = 0; d < at(D); ++d) {
        y.values[row + d] *= gain.values[d] / std::sqrt(mean + c_.rms_norm_eps);
      }
    }
    return y;
  }

  Tensor matrix(const Tensor& x, const std::string& name) const {  // [B,T,K] times [N,K]
    const Tensor& w = weights_.at(name + ".weight");
    const int64_t N = w.shape[0], K = w.shape[1];
    Tensor y{{B_, T_, N}, {}};
    for (int64_t row = 0; row < B_ * T_; ++row) {
      for (int64_t n = 0; n < N; ++n) {
        double sum = 0;
        for (int64_t k = 0; k < K; ++k) sum += x.values[at(row * K + k)] * w.values[at(n * K + k)];
        y.values.push_back(sum);
      }
    }
    return y;
  }

  Tensor heads(const Tensor& x, int64_t count) const {  // [B,T,n*Dh] to [B,n,T,Dh]
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
  double frequency(int64_t i) const {
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

  Tensor turned(const Tensor& x) const {
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

  Tensor products(const Tensor& q, const Tensor& k) const {  // [B,H,T,T]
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
  int64_t key_row(int64_t plane, int64_t s) const {
    const int64_t H = c_.num_attention_heads, Hkv = c_.num_key_value_heads;
    const int64_t b = plane / H, h = plane % H;
    return (b * Hkv + h / (H / Hkv)) * T_ + s;
  }

  Tensor softmax(const Tensor& x) const {
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

  Tensor weighted(const Tensor& p, const Tensor& v) const {  // [B,T,H*Dh]
    const int64_t H = c_.num_attention_heads, Dh = c_.head_dim;
    Tensor y{{B_, T_, H * Dh}, std::vector<double>(at(B_ * T_ * H * Dh), 0.0)};
    for (int64_t plane = 0; plane < B_ * H; ++plane) {
      for (int64_t t = 0; t < T_; ++t) {
        for (int64_t d = 0; d < Dh; ++d) {
          double& sum = y.values[at(((plane / H * T_ + t) * H + plane % H) * Dh + d)];
          for (int64_t s = 0; s < T_; ++s) {
            sum +=
                p.values[at((plane * T_ + t) * T_ + s)] * v.values[at(key_row(plane, s) * Dh + d)];
          }
        }
      }
    }
    return y;
  }

  static Tensor gated(const Tensor& gate, const Tensor& up) {
    Tensor y = gate;
    for (std::size_t i = 0; i < y.values.size(); ++i) {
      y.values[i] *= up.values[i] / (1 + std::exp(-gate.values[i]));
    }
    return y;
  }

  static Tensor plus(Tensor a, const Tensor& b) {
    for (std::size_t i = 0; i < a.values.size(); ++i) a.values[i] += b.values[i];
    return a;
  }

  Tensor loss(const Tensor& logits) const {
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

  const ModelConfig& c_;
  const Inputs& in_;
  const Tensors& weights_;
  const int64_t B_, T_;
  std::vector<Tensor> raw_scores_;
  Tensors out_;
};

}  // namespace

Tensors brute_force(const ModelConfig& config, const Inputs& inputs, const Tensors& weights) {
  return Evaluator(config, inputs, weights).run();
}

}  // namespace assay::reference::testing
