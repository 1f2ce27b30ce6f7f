// Methods 5.1 to 5.8: attention with the scores of all layers so far, each times a coefficient.
//
// With S_i = Q_i K_i^T the raw scores of layer i's own pass (before scale and mask), m = l + 1:
//   (1)    A_l = softmax( mask( sum_{i=0..l} c_i S_i ) ),  c_i =
//   (5.1)  1 / sqrt(Dh)                             (5.2)  1 / sqrt(Dh m)
//   (5.3)  1 / (m sqrt(Dh))                         (5.4)  1 / (Dh^a m^b)
//   (5.5)  1 / (a_i sqrt(Dh)):  exp: a_i = exp(alpha_i);  softmax: 1/a_i = m softmax(z)_i;  free
//   (5.6)  1 / (a_i Dh^(b_i)):  free, or log: a_i = exp(u_i)
//   (5.7)  1 / a_i:             free, or log: a_i = exp(u_i)
//   (5.8)  1 / Dh^a
// The learned c_i are written as a constant times a factor that is exactly 1 where training starts,
// so that 5.5 to 5.8 are then 5.1, and 5.4 is 5.3, bit for bit: Dh^-a = Dh^(1/2 - a) / sqrt(Dh).
//
// The mask comes once, after the sum, as a selection: a number added inside the sum could be scaled
// or outweighed, and a coefficient may be negative. Everything else is the plain block. Positions
// are mixed by A_l only. Cost: one [B,H,T,T] tensor of scores per layer is kept, O(L) memory; the
// sum is O(L^2 T^2).
// Source: docs/methods.md, methods 5.1 to 5.8.
#include "reference/methods/score_accumulation.h"

#include <cmath>
#include <optional>
#include <unordered_map>

#include "golden/contract/error.h"
#include "reference/ops/add.h"
#include "reference/ops/exponential.h"
#include "reference/ops/reciprocal.h"
#include "reference/ops/scale.h"
#include "reference/ops/softmax.h"
#include "reference/ops/times.h"
#include "reference/ops/weighted_sum.h"

namespace assay::reference {
namespace {

// c_i = constant * factor_i: one factor for every layer [m], one for all of them (scalar), or none.
struct Coefficients {
  double constant = 0;
  std::optional<Node> each = std::nullopt, all = std::nullopt;
};

// What the formulas are made of in layer l.
struct Terms {
  explicit Terms(const Site& s)
      : site(s),
        root(std::sqrt(static_cast<double>(s.config.head_dim))),
        m(static_cast<double>(s.layer.index + 1)) {}

  Node parameter(const char* name) const {
    return learned(site, std::string("self_attn.score.") + name);
  }
  // base^(start - x), 1 at x = start
  static Node power(double base, double start, Node x) {
    return exponential(x, -std::log(base), start * std::log(base));
  }
  Node head_power(Node x) const { return power(static_cast<double>(site.config.head_dim), 0.5, x); }

  const Site& site;
  double root;  // sqrt(Dh)
  double m;
};

using Formula = Coefficients (*)(const Terms&);

Coefficients one(const Terms& t) { return {1.0 / t.root}; }                           // (5.1)
Coefficients root_of_m(const Terms& t) { return {1.0 / (t.root * std::sqrt(t.m))}; }  // (5.2)
Coefficients mean(const Terms& t) { return {1.0 / (t.root * t.m)}; }                  // (5.3)
Coefficients powers(const Terms& t) {                                                 // (5.4)
  const Node of_m = Terms::power(t.m, 1.0, t.parameter("b"));                         // m^(1-b)
  return {.constant = 1.0 / (t.root * t.m), .all = times(t.head_power(t.parameter("a")), of_m)};
}
Coefficients divisor_exp(const Terms& t) {  // (5.5) exp
  return {.constant = 1.0 / t.root, .each = exponential(t.parameter("alpha"), -1.0)};
}
Coefficients divisor_softmax(const Terms& t) {  // (5.5) softmax
  return {.constant = 1.0 / t.root, .each = scale(softmax(t.parameter("z")), t.m)};
}
Coefficients divisor_free(const Terms& t) {  // (5.5) free
  return {.constant = 1.0 / t.root, .each = reciprocal(t.parameter("a"))};
}
Coefficients divisor_and_power_free(const Terms& t) {  // (5.6) free
  const Node power = t.head_power(t.parameter("b"));   // [m]
  return {.constant = 1.0 / t.root, .each = times(reciprocal(t.parameter("a")), power)};
}
Coefficients divisor_and_power_log(const Terms& t) {  // (5.6) log
  const Node power = t.head_power(t.parameter("b"));  // [m]
  return {.constant = 1.0 / t.root, .each = times(exponential(t.parameter("u"), -1.0), power)};
}
Coefficients unscaled_free(const Terms& t) {  // (5.7) free
  return {.constant = 1.0 / t.root, .each = reciprocal(t.parameter("a"), t.root)};
}
Coefficients unscaled_log(const Terms& t) {  // (5.7) log
  return {.constant = 1.0 / t.root, .each = exponential(t.parameter("u"), -1.0, std::log(t.root))};
}
Coefficients power(const Terms& t) {  // (5.8)
  return {.constant = 1.0 / t.root, .all = t.head_power(t.parameter("a"))};
}

Formula formula_of(const golden::ModelConfig& config) {
  static const std::unordered_map<std::string, Formula> formulas{
      {"5.1", one},
      {"5.2", root_of_m},
      {"5.3", mean},
      {"5.4", powers},
      {"5.5 exp", divisor_exp},
      {"5.5 softmax", divisor_softmax},
      {"5.5 free", divisor_free},
      {"5.6 free", divisor_and_power_free},
      {"5.6 log", divisor_and_power_log},
      {"5.7 free", unscaled_free},
      {"5.7 log", unscaled_log},
      {"5.8", power}};
  const std::string form = golden::form_of(config);
  const auto found = formulas.find(config.method + (form.empty() ? "" : " " + form));
  ASSAY_CHECK(found != formulas.end(), config.method + " " + form);
  return found->second;
}

}  // namespace

std::vector<Node> scores_so_far(const Site& site) {
  std::vector<Node> scores;
  for (const Layer& i : site.earlier) scores.push_back(i.raw_scores);
  scores.push_back(site.layer.raw_scores);
  return scores;
}

Method score_accumulation(const golden::ModelConfig& config) {
  Method method = plain_method();
  method.scores = [formula = formula_of(config)](const Site& site) {
    const Coefficients c = formula(Terms(site));
    const std::vector<Node> scores = scores_so_far(site);               // S_i [B,H,T,T]
    Node total = c.each ? weighted_sum(scores, *c.each) : sum(scores);  // [B,H,T,T]
    if (c.all) total = weighted_sum({total}, *c.all);
    return scale(total, c.constant);  // (1); the block masks it and takes the softmax
  };
  return method;
}

}  // namespace assay::reference
