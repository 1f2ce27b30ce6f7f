#include "tests/reference/methods/brute_force.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "golden/contract/names.h"
#include "tests/reference/methods/brute_force_block.h"
#include "tests/reference/methods/brute_force_scores.h"

namespace assay::reference::testing {
namespace {

std::size_t at(int64_t i) { return static_cast<std::size_t>(i); }
std::string here(int64_t l) { return "layers/" + std::to_string(l) + "/"; }

Tensor plus(Tensor a, const Tensor& b) {
  for (std::size_t i = 0; i < a.values.size(); ++i) a.values[i] += b.values[i];
  return a;
}

class Evaluator {
 public:
  Evaluator(const ModelConfig& config, const Inputs& inputs, const Tensors& weights)
      : c_(config), weights_(weights), block_(config, inputs, weights) {}

  Tensors run() {
    Tensor x = out_["embed"] = block_.embed();
    for (int64_t l = 0; l < c_.num_hidden_layers; ++l) x = layer(l, x);
    if (block_.pre_norm()) x = out_["final_norm"] = block_.final_norm(x);
    out_["logits"] = block_.logits(x);
    out_["loss"] = block_.loss(out_["logits"]);
    return std::move(out_);
  }

 private:
  Tensor layer(int64_t l, const Tensor& x) {  // X_l to X_{l+1}
    const std::string to = here(l);
    out_[to + "input"] = x;
    Tensor h = x;
    if (block_.pre_norm()) h = out_[to + "attn_norm"] = block_.attn_norm(l, x);
    Tensor q = block_.query(l, h), k = block_.key(l, h);
    if (block_.norms_heads()) {
      out_[to + "attn/q_proj"] = q;
      out_[to + "attn/k_proj"] = k;
      q = out_[to + "attn/q_norm"] = block_.head_norm(l, "self_attn.q_norm", q);
      k = out_[to + "attn/k_norm"] = block_.head_norm(l, "self_attn.k_norm", k);
    }
    q = out_[to + "attn/q"] = block_.turned(q);
    k = out_[to + "attn/k"] = block_.turned(k);
    const Tensor v = out_[to + "attn/v"] = block_.value(l, h);
    raw_scores_.push_back(block_.products(q, k));
    if (is_dynamic(l)) out_[to + "attn/window"] = window_sizes(l);
    const Tensor scores = out_[to + "attn/scores"] = entering_scores(l, h);
    const Tensor probs = out_[to + "attn/probs"] = block_.softmax(scores);
    const Tensor context = out_[to + "attn/context"] = block_.weighted(probs, v);
    const Tensor o = out_[to + "attn/out"] = block_.attn_out(l, context);
    const Tensor sum = out_[to + "attn_residual"] = after(l, "attn", x, x, o);
    const Tensor n = read_by_mlp(l, sum, to);
    const Tensor y = block_.pre_norm() ? sum : n;
    if (block_.has_gate()) out_[to + "mlp/gate"] = block_.gate(l, n);
    out_[to + "mlp/up"] = block_.up(l, n);
    const Tensor act = out_[to + "mlp/act"] = block_.act(l, n);
    const Tensor u = out_[to + "mlp/out"] = block_.mlp_out(l, act);
    const Tensor next = after(l, "mlp", x, y, u);
    if (block_.pre_norm()) return out_[to + "output"] = next;
    out_[to + "mlp_residual"] = next;
    return out_[to + "output"] = block_.mlp_norm(l, next);
  }

  // What layer l's MLP reads of a stream after the attention residual, named below `to`.
  Tensor read_by_mlp(int64_t l, const Tensor& sum, const std::string& to) {
    if (block_.pre_norm()) return out_[to + "mlp_norm"] = block_.mlp_norm(l, sum);
    return out_[to + "attn_norm"] = block_.attn_norm(l, sum);
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

  // The sum, the mean or the learned mean of what earlier layers give and, in means, the own
  // output.
  Tensor combined(int64_t l, const std::vector<Tensor>& again, const Tensor& own) {
    std::vector<double> w(again.size() + 1, 1.0);
    if (c_.method.ends_with(".1")) std::fill(w.begin(), w.end(), 1 / double(l + 1));
    if (c_.method.ends_with(".2")) {
      double total = 0;
      for (std::size_t j = 0; j < w.size(); ++j) {
        total += w[j] = std::exp(weights_.at(golden::layer_weight(c_, l, "mix.weight")).values[j]);
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
      const std::string to = here(l) + "recompute/" + std::to_string(j) + "/";
      Tensor h = x;
      if (block_.pre_norm()) h = out_[to + "attn_norm"] = block_.attn_norm(j, x);
      const Tensor v = out_[to + "v"] = block_.value(j, h);
      const Tensor context = out_[to + "context"] =
          block_.weighted(out_.at(here(j) + "attn/probs"), v);
      all.push_back(out_[to + "attn_out"] = block_.attn_out(j, context));
      if (!with_mlp) continue;
      const Tensor n = read_by_mlp(j, plus(x, all.back()), to);
      const Tensor act = out_[to + "mlp_act"] = block_.act(j, n);
      all.back() = out_[to + "mlp_out"] = block_.mlp_out(j, act);
    }
    return all;
  }

  // The method's combination of the scores of layers 0..l, and -inf where not allowed.
  Tensor entering_scores(int64_t l, const Tensor& read) const {
    const ScoreRule rule(c_, weights_, golden::layer_weight(c_, l, ""), l, read);
    Tensor scores = raw_scores_[at(l)];
    const int64_t T = scores.shape[3], H = scores.shape[1];
    for (int64_t i = 0; i < golden::element_count(scores.shape); ++i) {
      const int64_t s = i % T, t = i / T % T, b = i / T / T / H;
      double sum = rule.offset(t);
      for (int64_t j = 0; j <= l; ++j) {
        sum += rule.factor(j, b, t, s) * raw_scores_[at(j)].values[at(i)];
      }
      bool near = true;
      if (is_dynamic(l)) {
        const double size = out_.at(here(l) + "attn/window").values[at(b * T + t)];
        near = double(t - s) < size || s < c_.sink_tokens;
      }
      scores.values[at(i)] = near && block_.allowed(l, i / T, s) ? sum : -INFINITY;
    }
    return scores;
  }

  bool is_dynamic(int64_t l) const {
    return c_.window_kind == golden::WindowKind::dynamic &&
           std::find(c_.full_layers.begin(), c_.full_layers.end(), l) == c_.full_layers.end();
  }

  // z_t: the mean size of the layer's own scores that the widest window holds.
  double strength(int64_t l, int64_t b, int64_t t) const {
    const Tensor& raw = raw_scores_[at(l)];
    const int64_t T = raw.shape[3], H = raw.shape[1];
    double sum = 0, count = 0;
    for (int64_t s = 0; s < T; ++s) {
      for (int64_t h = 0; h < H; ++h) {
        const int64_t row = (b * H + h) * T + t;
        if (!block_.allowed(l, row, s)) continue;
        sum += std::fabs(raw.values[at(row * T + s)]);
        count += 1;
      }
    }
    return count == 0 ? 0 : sum / count;
  }

  // W_t, the extremes of every query found anew among the real positions before it.
  Tensor window_sizes(int64_t l) const {
    const Tensor& raw = raw_scores_[at(l)];
    const int64_t B = raw.shape[0], T = raw.shape[3];
    Tensor sizes{{B, T}, {}};
    for (int64_t b = 0; b < B; ++b) {
      for (int64_t t = 0; t < T; ++t) {
        const double z = strength(l, b, t);
        double least = z, most = z;
        for (int64_t r = 0; r < t; ++r) {
          if (!block_.is_real(b, r)) continue;
          least = std::min(least, strength(l, b, r));
          most = std::max(most, strength(l, b, r));
        }
        const double share = least == most ? 0.5 : (z - least) / (most - least);
        const double range = double(c_.window - c_.window_min);
        sizes.values.push_back(double(c_.window_min) + std::floor(share * range));
      }
    }
    return sizes;
  }

  const ModelConfig& c_;
  const Tensors& weights_;
  const BruteForceBlock block_;
  std::vector<Tensor> raw_scores_;
  Tensors out_;
};

}  // namespace

Tensors brute_force(const ModelConfig& config, const Inputs& inputs, const Tensors& weights) {
  return Evaluator(config, inputs, weights).run();
}

}  // namespace assay::reference::testing
