#include "tests/reference/prob_transformer/brute_force.h"

#include <cmath>
#include <string>

namespace assay::reference::testing {
namespace {

using PT = golden::ProbTransformer;
using Numbers = std::vector<double>;

std::size_t at(int64_t i) { return static_cast<std::size_t>(i); }

class Evaluator {
 public:
  Evaluator(const ModelConfig& c, const Inputs& inputs, const Tensors& weights)
      : c_(c), in_(inputs), weights_(weights), B_(inputs.batch), T_(inputs.positions) {
    Dz_ = c.hidden_size;
    C_ = c.pt.channels;
    r_ = c.pt.rank != 0 ? c.pt.rank : c.head_dim;
    N_ = c.pt.iterations != 0 ? c.pt.iterations : c.num_hidden_layers;
    G_ = c.pt.head_groups;
    M_ = c.pt.label_groups;
    K_ = 1;
    if (c.pt.distances) {
      K_ = (int64_t(c.pt.distances->size()) + 1) * (c.pt.causal_heads ? 1 : 2);
    }
    lambda_h_ = c.pt.lambda_h != 0 ? c.pt.lambda_h : 1.0 / double(Dz_);
  }

  Tensors run() {
    for (int64_t m = 0; m < M_; ++m) {
      const Numbers& table = weights_.at("model.unary" + dot(M_, m) + ".weight").values;
      Numbers unary;
      for (const double token : in_.tokens) {
        for (int64_t a = 0; a < Dz_; ++a) unary.push_back(table[at(int64_t(token) * Dz_ + a)]);
      }
      S_.push_back(unary);
      Mz_.push_back(unary);
      Qz_.push_back(softmax(unary, Dz_));
      put("embed" + slash(M_, m), {B_, T_, Dz_}, unary);
      put("pt/0/labels" + slash(M_, m), {B_, T_, Dz_}, Qz_.back());
    }
    for (int64_t g = 0; g < G_; ++g) {
      Mh_.push_back(Numbers(at(B_ * C_ * T_ * T_), 0.0));
      Qh_.push_back(softmax(allowed(Mh_.back()), T_));
      const bool used = c_.pt.schedule == PT::Schedule::sync || c_.pt.head_step != 1;
      if (used) put("pt/0/heads" + slash(G_, g), {B_, C_, T_, T_}, Qh_.back());
    }
    for (int64_t n = 1; n <= N_; ++n) round("pt/" + std::to_string(n) + "/", n);
    output();
    return std::move(out_);
  }

 private:
  void round(const std::string& to, int64_t n) {
    const bool turns = c_.pt.updates == PT::Updates::in_turn;
    const bool full = c_.pt.message == PT::Message::full;
    std::vector<Numbers> G(at(M_), Numbers(at(B_ * T_ * Dz_), 0.0));
    for (int64_t g = 0; g < G_; ++g) {
      if (turns && g >= n) continue;  // it has not joined
      const bool updated = !turns || (n - 1) % G_ == g;
      for (int64_t m = 0; m < M_; ++m) {
        const Shape shape{B_, K_ * C_, T_, r_};
        const std::string of = slash(G_, g) + slash(M_, m);
        std::string q = to, k = to;
        q.append("q").append(of);
        k.append("k").append(of);
        if (updated || full) put(q, shape, projected(m, factor(g + m, "u")));
        put(k, shape, projected(m, factor(g + m, "v")));
      }
      const Numbers before = Qh_[at(g)];
      if (updated) update_heads(to, g);
      const Numbers& heads = c_.pt.schedule == PT::Schedule::sync ? before : Qh_[at(g)];
      for (int64_t m = 0; m < M_; ++m) {
        const Numbers message = message_to(m, g, heads);
        put(to + "message/" + std::to_string(g + m), {B_, T_, Dz_}, message);
        for (std::size_t i = 0; i < message.size(); ++i) G[at(m)][i] += message[i];
      }
    }
    if (M_ == 1) put(to + "message/sum", {B_, T_, Dz_}, G[0]);
    for (int64_t m = 0; m < M_; ++m) update_labels(to, m, G[at(m)]);
  }

  void update_heads(const std::string& to, int64_t g) {
    Numbers scores(at(B_ * C_ * T_ * T_), 0.0);
    for (int64_t i = 0; i < B_ * C_ * T_ * T_; ++i) {
      const int64_t s = i % T_, t = i / T_ % T_, c = i / T_ / T_ % C_, b = i / T_ / T_ / C_;
      double F = 0;
      for (int64_t m = 0; m < M_; ++m) F += ternary(m, g + m, b, c, t, s);
      double& Mh = Mh_[at(g)][at(i)];
      Mh = (1 - c_.pt.head_damping) * F + c_.pt.head_damping * Mh;
      scores[at(i)] = Mh / lambda_h_;
    }
    scores = allowed(scores);
    put(to + "scores" + slash(G_, g), {B_, C_, T_, T_}, scores);
    mix(Qh_[at(g)], softmax(scores, T_), c_.pt.head_step);
    put(to + "heads" + slash(G_, g), {B_, C_, T_, T_}, Qh_[at(g)]);
  }

  void update_labels(const std::string& to, int64_t m, const Numbers& G) {
    Numbers scores;
    for (std::size_t i = 0; i < G.size(); ++i) {
      double& Mz = Mz_[at(m)][i];
      Mz = (1 - c_.pt.label_damping) * (S_[at(m)][i] + G[i]) + c_.pt.label_damping * Mz;
      scores.push_back(Mz / c_.pt.lambda_z);
    }
    put(to + "label_scores" + slash(M_, m), {B_, T_, Dz_}, scores);
    mix(Qz_[at(m)], softmax(scores, Dz_), c_.pt.label_step);
    put(to + "labels" + slash(M_, m), {B_, T_, Dz_}, Qz_[at(m)]);
    read_.resize(at(M_));
    read_[at(m)] = c_.pt.read == PT::Read::scores ? scores : Qz_[at(m)];
  }

  // Which U, V a word at t and a head at s use.
  int64_t distance_group(int64_t t, int64_t s) const {
    if (!c_.pt.distances) return 0;
    int64_t group = 0;
    for (const int64_t start : *c_.pt.distances) {
      if (std::abs(t - s) >= start) ++group;
    }
    return group + (s > t ? int64_t(c_.pt.distances->size()) + 1 : 0);
  }

  const Numbers& factor(int64_t group, const std::string& which) const {
    return weights_.at("model.groups." + std::to_string(group) + "." + which + ".weight").values;
  }

  // T^(c)[a,b] of the pair (t,s).
  double T(int64_t group, int64_t c, int64_t t, int64_t s, int64_t a, int64_t b) const {
    double sum = 0;
    for (int64_t i = 0; i < r_; ++i) {
      const int64_t row = (distance_group(t, s) * C_ + c) * r_ + i;
      sum += factor(group, "u")[at(row * Dz_ + a)] * factor(group, "v")[at(row * Dz_ + b)];
    }
    return sum;
  }

  double label(int64_t m, int64_t b, int64_t t, int64_t a) const {
    return Qz_[at(m)][at((b * T_ + t) * Dz_ + a)];
  }

  bool possible(int64_t t, int64_t s) const {
    if (s == t || (c_.pt.causal_heads && s > t)) return false;
    const int64_t apart = s > t ? s - t : t - s;
    return c_.window == 0 || 2 * apart <= c_.window;
  }

  // F_c[t,s] = sum_ab Qz[t,a] T[a,b] Qz[s,b]
  double ternary(int64_t m, int64_t group, int64_t b, int64_t c, int64_t t, int64_t s) const {
    if (!possible(t, s)) return 0;
    double sum = 0;
    for (int64_t x = 0; x < Dz_; ++x) {
      for (int64_t y = 0; y < Dz_; ++y) {
        sum += label(m, b, t, x) * T(group, c, t, s, x, y) * label(m, b, s, y);
      }
    }
    return sum;
  }

  Numbers message_to(int64_t m, int64_t g, const Numbers& heads) const {
    Numbers G(at(B_ * T_ * Dz_), 0.0);
    const double times = c_.pt.message == PT::Message::symmetric ? 2 : 1;
    for (int64_t i = 0; i < B_ * C_ * T_ * T_; ++i) {
      const int64_t s = i % T_, t = i / T_ % T_, c = i / T_ / T_ % C_, b = i / T_ / T_ / C_;
      const double p = heads[at(i)];
      if (p == 0) continue;
      for (int64_t x = 0; x < Dz_; ++x) {
        for (int64_t y = 0; y < Dz_; ++y) {
          const double weight = p * T(g + m, c, t, s, x, y);
          G[at((b * T_ + t) * Dz_ + x)] += times * weight * label(m, b, s, y);
          if (c_.pt.message != PT::Message::full) continue;
          G[at((b * T_ + s) * Dz_ + y)] += weight * label(m, b, t, x);  // from the dependent
        }
      }
    }
    return G;
  }

  Numbers projected(int64_t m, const Numbers& weight) const {  // [B,K*C,T,r]
    Numbers y;
    for (int64_t i = 0; i < B_ * K_ * C_ * T_ * r_; ++i) {
      const int64_t d = i % r_, t = i / r_ % T_, h = i / r_ / T_ % (K_ * C_);
      const int64_t b = i / r_ / T_ / (K_ * C_);
      double sum = 0;
      for (int64_t a = 0; a < Dz_; ++a) {
        sum += label(m, b, t, a) * weight[at((h * r_ + d) * Dz_ + a)];
      }
      y.push_back(sum);
    }
    return y;
  }

  Numbers allowed(Numbers scores) const {
    for (int64_t i = 0; i < B_ * C_ * T_ * T_; ++i) {
      const int64_t s = i % T_, t = i / T_ % T_, b = i / T_ / T_ / C_;
      const bool real =
          in_.attention_mask[at(b * T_ + s)] != 0 && in_.attention_mask[at(b * T_ + t)] != 0;
      if (!real || !possible(t, s)) scores[at(i)] = -INFINITY;
    }
    return scores;
  }

  static Numbers softmax(const Numbers& x, int64_t row) {
    Numbers p(x.size(), 0.0);
    for (std::size_t first = 0; first < x.size(); first += at(row)) {
      double most = -INFINITY, total = 0;
      for (std::size_t i = first; i < first + at(row); ++i) most = std::fmax(most, x[i]);
      if (most == -INFINITY) continue;
      for (std::size_t i = first; i < first + at(row); ++i) total += std::exp(x[i] - most);
      for (std::size_t i = first; i < first + at(row); ++i) p[i] = std::exp(x[i] - most) / total;
    }
    return p;
  }

  static void mix(Numbers& q, const Numbers& fresh, double step) {
    for (std::size_t i = 0; i < q.size(); ++i) q[i] = (1 - step) * q[i] + step * fresh[i];
  }

  void output() {
    Numbers logits(at(B_ * T_ * c_.vocab_size), 0.0);
    for (int64_t m = 0; m < M_; ++m) {
      const std::string head = c_.tie_word_embeddings ? "model.unary" : "lm_head";
      const Numbers& table = weights_.at(head + dot(M_, m) + ".weight").values;
      for (int64_t i = 0; i < B_ * T_ * c_.vocab_size; ++i) {
        const int64_t v = i % c_.vocab_size, row = i / c_.vocab_size;
        for (int64_t a = 0; a < Dz_; ++a) {
          logits[at(i)] += read_[at(m)][at(row * Dz_ + a)] * table[at(v * Dz_ + a)];
        }
      }
    }
    put("logits", {B_, T_, c_.vocab_size}, logits);
    const Numbers p = softmax(logits, c_.vocab_size);
    const int64_t ahead = c_.pt.output == PT::Output::causal ? 1 : 0;
    double total = 0, count = 0;
    for (int64_t row = 0; row < B_ * T_; ++row) {
      if (row % T_ + ahead >= T_ || in_.labels[at(row + ahead)] == -100) continue;
      total -= std::log(p[at(row * c_.vocab_size + int64_t(in_.labels[at(row + ahead)]))]);
      ++count;
    }
    put("loss", {}, {count == 0 ? 0 : total / count});
  }

  void put(const std::string& name, Shape shape, const Numbers& values) {
    out_[name] = {std::move(shape), values};
  }
  static std::string slash(int64_t groups, int64_t group) {
    return groups == 1 ? "" : "/" + std::to_string(group);
  }
  static std::string dot(int64_t groups, int64_t group) {
    return groups == 1 ? "" : "." + std::to_string(group);
  }

  const ModelConfig& c_;
  const Inputs& in_;
  const Tensors& weights_;
  int64_t B_, T_, Dz_, C_, r_, N_, G_, M_, K_;
  double lambda_h_;
  std::vector<Numbers> S_, Mz_, Qz_, read_;  // by label group
  std::vector<Numbers> Mh_, Qh_;             // by head group
  Tensors out_;
};

}  // namespace

Tensors brute_force_pt(const ModelConfig& config, const Inputs& inputs, const Tensors& weights) {
  return Evaluator(config, inputs, weights).run();
}

}  // namespace assay::reference::testing
