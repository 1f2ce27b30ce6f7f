#include "golden/contract/methods.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "golden/contract/prob_transformer.h"

namespace assay::golden {
namespace {

using Options = std::vector<std::string>;
using Parameters = std::vector<Parameter>;

// Sizes are chosen so that attention stays neither uniform nor one-hot.
Parameters mix() {
  return {{.suffix = "mix.weight",
           .extents = "m",
           .initial = Initial::one,
           .half_width = 1.25,
           .first_layer = false}};
}

Parameter score(std::string name, std::string extents, Initial initial, double center,
                double half_width, std::string form = "") {
  return {.suffix = "self_attn.score." + name,
          .extents = std::move(extents),
          .initial = initial,
          .center = center,
          .half_width = half_width,
          .form = std::move(form)};
}

// A divisor that may have either sign; its size in units of its initial value.
Parameter divisor(Initial initial, double center, double half_width) {
  Parameter a = score("a", "m", initial, center, half_width, "free");
  a.any_sign = true;
  return a;
}

// g = W2 GELU(W1 RMSNorm'(.)) + b, D -> features -> features: "m", or "1" in every layer.
Parameters gate(const std::string& features) {
  return {score("gate.norm", "D", Initial::one, 0, 0.5),
          score("gate.w1", features + "D", Initial::normal, 0, 1),
          score("gate.w2", features + features, Initial::normal, 0, 0.4),
          score("gate.bias", features, Initial::zero, 0, 0.3)};
}

std::string attends(const std::string& scores) { return "A_l = softmax(mask(" + scores + "))"; }

const Options kRecompute{"residual", "detach_stored"};

std::vector<MethodInfo> recompute_methods() {
  const auto mlp = Family::recompute_mlp, attn = Family::recompute_attn;
  return {
      {"1", "earlier layers run again, added at the MLP", "X_{l+1} = Y_l + U_l + sum_{j<l} r_{j>l}",
       mlp, kRecompute},
      {"1-plan-a", "attention output replaced by that of earlier layers run again",
       "Y_l = X_l + sum_{j<l} o_{j>l} for l >= 1", attn},
      {"1-plan-b", "attention outputs of earlier layers added, stored probabilities constant",
       "Y_l = X_l + O_l + sum_{j<l} o_{j>l}, no gradient through A_j", attn},
      {"2", "earlier layers run again, added at the attention",
       "Y_l = X_l + O_l + sum_{j<l} o_{j>l}", attn, kRecompute},
      {"3.1", "method 1, mean of all MLP outputs", "X_{l+1} = Y_l + (U_l + sum_{j<l} r_{j>l}) / m",
       mlp, kRecompute},
      {"3.2",
       "method 1, learned mean of all MLP outputs",
       "X_{l+1} = Y_l + sum_{j<l} w_j r_{j>l} + w_l U_l, w = softmax(theta_l)",
       mlp,
       kRecompute,
       {},
       mix()},
      {"4.1", "method 2, mean of all attention outputs",
       "Y_l = X_l + (O_l + sum_{j<l} o_{j>l}) / m", attn, kRecompute},
      {"4.2",
       "method 2, learned mean of all attention outputs",
       "Y_l = X_l + sum_{j<l} w_j o_{j>l} + w_l O_l, w = softmax(theta_l)",
       attn,
       kRecompute,
       {},
       mix()},
  };
}

std::vector<MethodInfo> scalar_score_methods() {
  const auto scores = Family::score_accumulation;
  const auto zero = Initial::zero, half = Initial::half, one = Initial::one;
  return {
      {"5.1", "scores accumulated over layers", attends("sum_{i<=l} S_i / sqrt(Dh)"), scores},
      {"5.2", "accumulated scores over sqrt(m)", attends("sum_{i<=l} S_i / sqrt(Dh m)"), scores},
      {"5.3", "mean of the scores of all layers", attends("sum_{i<=l} S_i / (m sqrt(Dh))"), scores},
      {"5.4",
       "accumulated scores, learned powers",
       attends("sum_{i<=l} S_i / (Dh^a m^b)"),
       scores,
       {},
       {},
       {score("a", "", half, -0.125, 0.075), score("b", "", one, -0.4, 0.2)}},
      {"5.5",
       "accumulated scores, a learned divisor per layer",
       attends("sum_{i<=l} S_i / (a_i sqrt(Dh))"),
       scores,
       {"form"},
       {"exp", "softmax", "free"},
       {score("alpha", "m", zero, 0.25, 0.75, "exp"), score("z", "m", zero, 0, 1, "softmax"),
        divisor(one, 1.375, 0.625)}},
      {"5.6",
       "accumulated scores, a learned divisor and power per layer",
       attends("sum_{i<=l} S_i / (a_i Dh^(b_i))"),
       scores,
       {"form"},
       {"free", "log"},
       {divisor(one, 1.375, 0.625), score("u", "m", zero, 0.25, 0.5, "log"),
        score("b", "m", half, 0, 0.15)}},
      {"5.7",
       "accumulated scores, a learned divisor instead of sqrt(Dh)",
       attends("sum_{i<=l} S_i / a_i"),
       scores,
       {"form"},
       {"free", "log"},
       {divisor(Initial::sqrt_head, 1.25, 0.45),
        score("u", "m", Initial::log_sqrt_head, 0.25, 0.5, "log")}},
      {"5.8",
       "accumulated scores, one learned power",
       attends("sum_{i<=l} S_i / Dh^a"),
       scores,
       {},
       {},
       {score("a", "", half, 0.125, 0.075)}},
  };
}

std::vector<MethodInfo> score_factor_methods() {
  const auto scores = Family::score_factors;
  const auto zero = Initial::zero;
  const Options table{"score_positions"}, gated{"score_gate_eps"};
  const std::string gate_text = ", g = W2 GELU(W1 RMSNorm'(attn_norm_l(X_l))) + b";
  return {
      {"5.1A",
       "5.1, a learned factor per element",
       attends("sum_{i<=l} exp(W_i[t,s]) S_i[t,s] / sqrt(Dh)"),
       scores,
       table,
       {},
       {score("w", "mPP", zero, 0, 0.75)}},
      {"5.1B",
       "5.1, a learned factor per key",
       attends("sum_{i<=l} exp(w_i[s]) S_i[t,s] / sqrt(Dh)"),
       scores,
       table,
       {},
       {score("w", "mP", zero, 0, 0.75)}},
      {"5.1C",
       "5.1, a learned factor per query",
       attends("sum_{i<=l} exp(w_i[t]) S_i[t,s] / sqrt(Dh)"),
       scores,
       table,
       {},
       {score("w", "mP", zero, 0, 0.75)}},
      {"5.1D",
       "5.1, a factor computed from the query's position",
       attends("sum_{i<=l} exp(g_i[t]) S_i[t,s] / sqrt(Dh)") + gate_text,
       scores,
       gated,
       {},
       gate("m")},
      {"5.1E",
       "5.1, a factor computed from the key's position",
       attends("sum_{i<=l} exp(g_i[s]) S_i[t,s] / sqrt(Dh)") + gate_text,
       scores,
       gated,
       {},
       gate("m")},
      {"C-base",
       "own scores, a learned factor and offset per query",
       attends("S_l[t,s] / sqrt(Dh) (exp(w[t]) + 1) + c[t]"),
       scores,
       table,
       {},
       {score("w", "P", zero, -0.75, 0.5), score("c", "P", zero, 0, 1)}},
      {"D-base",
       "own scores, a factor computed from the query's position",
       attends("S_l[t,s] / sqrt(Dh) exp(g[t])") + gate_text,
       scores,
       gated,
       {},
       gate("1")},
  };
}

MethodInfo prob_transformer() {
  return {"pt",
          "Probabilistic Transformer: labels and heads of words by mean field",
          "Qh = softmax(mask(F / lambda_h)), Qz = softmax((S + G) / lambda_z)",
          Family::prob_transformer,
          {"pt"}};
}

std::vector<MethodInfo> make_methods() {
  std::vector<MethodInfo> list{{"plain", "the block itself", "X_{l+1} = Y_l + U_l", Family::plain}};
  for (const auto& family : {recompute_methods(), scalar_score_methods(), score_factor_methods()}) {
    list.insert(list.end(), family.begin(), family.end());
  }
  list.push_back(prob_transformer());
  return list;
}

std::string extents_text(const std::string& extents) {
  std::string text;
  for (const char axis : extents) text += (text.empty() ? "" : ",") + std::string(1, axis);
  return extents.empty() ? "scalar" : "[" + text + "]";
}

}  // namespace

std::string initial_text(Initial initial) {
  switch (initial) {
    case Initial::zero:
      return "0";
    case Initial::half:
      return "0.5";
    case Initial::one:
      return "1";
    case Initial::sqrt_head:
      return "sqrt(Dh)";
    case Initial::log_sqrt_head:
      return "ln sqrt(Dh)";
    case Initial::normal:
      return "N(0, 0.02^2)";
  }
  throw InternalError("initial_text: no such Initial");
}

bool MethodInfo::takes(const std::string& option) const {
  return std::find(options.begin(), options.end(), option) != options.end();
}

const std::vector<MethodInfo>& methods() {
  static const std::vector<MethodInfo> list = make_methods();
  return list;
}

const MethodInfo& find_method(const std::string& id, const std::string& where) {
  std::vector<std::string> known;
  for (const MethodInfo& method : methods()) {
    if (method.id == id) return method;
    known.push_back(method.id);
  }
  throw InputError(fmt::format("{} {}: no such method; have {} ('assay methods' lists them)", where,
                               id, fmt::join(known, ", ")));
}

std::vector<std::string> option_texts(const MethodInfo& method) {
  std::vector<std::string> texts;
  for (const std::string& option : method.options) {
    if (option == "residual") texts.push_back("residual = keep | replace");
    if (option == "detach_stored") texts.push_back("detach_stored = false | true");
    if (option == "form") texts.push_back(fmt::format("form = {}", fmt::join(method.forms, " | ")));
    if (option == "score_gate_eps") texts.push_back("score_gate_eps = 2^-52");
    if (option == "pt") {
      for (const std::string& text : prob_transformer_option_texts()) texts.push_back(text);
    }
    if (option == "score_positions") texts.push_back("score_positions = max_position_embeddings");
  }
  return texts;
}

std::vector<std::string> parameter_texts(const MethodInfo& method) {
  std::vector<std::string> texts;
  for (const Parameter& p : method.parameters) {
    texts.push_back(fmt::format("{} {} = {}{}{}", p.suffix, extents_text(p.extents),
                                initial_text(p.initial), p.form.empty() ? "" : ", form " + p.form,
                                p.first_layer ? "" : ", l >= 1"));
  }
  return texts;
}

}  // namespace assay::golden
