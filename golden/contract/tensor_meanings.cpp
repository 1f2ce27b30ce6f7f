#include "golden/contract/tensor_meanings.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <string_view>

#include "golden/contract/methods.h"

namespace assay::golden {
namespace {

bool is_pt(const ModelConfig& c) {
  return find_method(c.method).family == Family::prob_transformer;
}
bool llama(const ModelConfig& c) { return !is_pt(c) && c.block == BlockKind::llama; }
bool gpt2(const ModelConfig& c) { return !is_pt(c) && c.block == BlockKind::gpt2; }
bool pre(const ModelConfig& c) { return !is_pt(c) && c.norm == NormPosition::pre; }
bool post(const ModelConfig& c) { return !is_pt(c) && c.norm == NormPosition::post; }

bool is_any(const ModelConfig& c, std::initializer_list<const char*> methods) {
  for (const char* method : methods) {
    if (c.method == method) return true;
  }
  return false;
}
bool mixes_attn(const ModelConfig& c) {
  return find_method(c.method).family == Family::recompute_attn;
}
bool mixes_mlp(const ModelConfig& c) {
  return find_method(c.method).family == Family::recompute_mlp;
}
bool own_scores(const ModelConfig& c) {
  const Family family = find_method(c.method).family;
  return family != Family::score_accumulation && family != Family::score_factors;
}

using Rows = std::vector<TensorMeaning>;

// Predicates are of a config and the layer or round in the name.
#define ASSAY_WHERE(CONDITION) \
  [](const ModelConfig& c, [[maybe_unused]] int64_t l) -> bool { return CONDITION; }

constexpr char kScores[] =
    "what enters the softmax: `S_l / sqrt(Dh)`, `S_l[b,h,t,s] = sum_d q[b,h,t,d] k[b,g,s,d]` with "
    "`g = floor(h / (H/Hkv))`; -inf where query t does not see key s: `s > t`, s is padding, or s "
    "is outside the window and no sink";
constexpr char kWindow[] =
    "`W_t`: positions that query t sees, itself the last: `window_min + floor(r_t (window - "
    "window_min))` with the strength `z_t`, mean of `|S_l[b,h,t,s]|` over h and the real s of the "
    "widest window and the sinks, and `r_t = (z_t - min) / (max - min)` over the real positions up "
    "to t and t, 1/2 while they are equal";
constexpr char kProbs[] =
    "`A_l`: softmax of `attn/scores` over s; 0 where the score is -inf, and in a whole row that "
    "sees no key";
constexpr char kContext[] =
    "`sum_s probs[b,h,t,s] v[b,g,s,d]` at feature `h*Dh + d`: heads side by side";
constexpr char kPlainScores[] = "plain, 1 to 4.2";
constexpr char kLoss[] =
    "mean cross-entropy of logits at t against the label at t+1, over the labels that are not -100";

Rows llama_rows() {
  const std::string part = "Llama block";
  const auto block = ASSAY_WHERE(llama(c));
  const auto normed = ASSAY_WHERE(llama(c) && c.qk_norm);
  const auto bare = ASSAY_WHERE(llama(c) && !c.qk_norm);
  return {
      {part, "embed", "B,T,D", "", "rows of `model.embed_tokens.weight` for the tokens", block},
      {part, "layers/{l}/input", "B,T,D", "",
       "`X_l`: `embed` for l = 0, else the `output` of layer l-1", block},
      {part, "layers/{l}/attn_norm", "B,T,D", "", "RMSNorm of `input`, with its gain", block},
      {part, "layers/{l}/attn/q_proj", "B,H,T,Dh", "qk_norm",
       "query projection of `attn_norm`, its bias included where it has one, split into heads",
       normed},
      {part, "layers/{l}/attn/q_norm", "B,H,T,Dh", "qk_norm",
       "RMSNorm of each head of `attn/q_proj` over Dh, with the gain of `q_norm`, which all heads "
       "share; before RoPE",
       normed},
      {part, "layers/{l}/attn/q", "B,H,T,Dh", "qk_norm",
       "`attn/q_norm` after RoPE in the half-rotation layout; not scaled", normed},
      {part, "layers/{l}/attn/q", "B,H,T,Dh", "",
       "query projection of `attn_norm`, its bias included where it has one, split into heads, "
       "after RoPE in the half-rotation layout; not scaled",
       bare},
      {part, "layers/{l}/attn/k_proj", "B,Hkv,T,Dh", "qk_norm", "key projection likewise", normed},
      {part, "layers/{l}/attn/k_norm", "B,Hkv,T,Dh", "qk_norm",
       "RMSNorm of each head of `attn/k_proj` likewise, with the gain of `k_norm`", normed},
      {part, "layers/{l}/attn/k", "B,Hkv,T,Dh", "qk_norm",
       "`attn/k_norm` after RoPE in the half-rotation layout; not repeated", normed},
      {part, "layers/{l}/attn/k", "B,Hkv,T,Dh", "",
       "key projection of `attn_norm`, its bias included where it has one, split into heads, after "
       "RoPE in the half-rotation layout; not repeated",
       bare},
      {part, "layers/{l}/attn/v", "B,Hkv,T,Dh", "",
       "value projection of `attn_norm`, its bias included where it has one, split into heads; no "
       "RoPE, not repeated",
       block},
      {part, "layers/{l}/attn/window", "B,T", "window_kind = dynamic", kWindow,
       ASSAY_WHERE(llama(c) && has_dynamic_window(c, l))},
      {part, "layers/{l}/attn/scores", "B,H,T,T", kPlainScores, kScores,
       ASSAY_WHERE(llama(c) && own_scores(c))},
      {part, "layers/{l}/attn/probs", "B,H,T,T", "", kProbs, block},
      {part, "layers/{l}/attn/context", "B,T,H*Dh", "", kContext, block},
      {part, "layers/{l}/attn/out", "B,T,D", "",
       "`O_l`: output projection of `attn/context`, its bias included where it has one", block},
      {part, "layers/{l}/attn_residual", "B,T,D", "l = 0, or not 2, 4.x, plans",
       "`Y_l`: `input + attn/out`", ASSAY_WHERE(llama(c) && (l == 0 || !mixes_attn(c)))},
      {part, "layers/{l}/mlp_norm", "B,T,D", "", "RMSNorm of `attn_residual`, with its gain",
       block},
      {part, "layers/{l}/mlp/gate", "B,T,F", "", "gate projection of `mlp_norm`, before silu",
       block},
      {part, "layers/{l}/mlp/up", "B,T,F", "", "up projection of `mlp_norm`", block},
      {part, "layers/{l}/mlp/act", "B,T,F", "", "`silu(gate) * up`, `silu(x) = x / (1 + exp(-x))`",
       block},
      {part, "layers/{l}/mlp/out", "B,T,D", "", "`U_l`: down projection of `mlp/act`", block},
      {part, "layers/{l}/output", "B,T,D", "l = 0, or not 1, 3.x",
       "`X_{l+1}`: `attn_residual + mlp/out`", ASSAY_WHERE(llama(c) && (l == 0 || !mixes_mlp(c)))},
      {part, "final_norm", "B,T,D", "", "RMSNorm of the last layer's `output`, with its gain",
       block},
      {part, "logits", "B,T,V", "",
       "`final_norm` times the transposed `lm_head.weight` (tied: `model.embed_tokens.weight`)",
       block},
      {part, "loss", "", "", kLoss, block},
  };
}

Rows gpt2_rows() {
  const std::string part = "GPT-2 block";
  const auto block = ASSAY_WHERE(gpt2(c));
  const auto before = ASSAY_WHERE(gpt2(c) && pre(c));
  const auto after = ASSAY_WHERE(gpt2(c) && post(c));
  return {
      {part, "embed", "B,T,D", "",
       "token row of `wte` plus row t of `wpe`; t counts from 0 in every row, whatever is padded",
       block},
      {part, "layers/{l}/input", "B,T,D", "",
       "`X_l`: `embed` for l = 0, else the `output` of layer l-1", block},
      {part, "layers/{l}/attn_norm", "B,T,D", "norm = pre", "LayerNorm `ln_1` of `input`", before},
      {part, "layers/{l}/attn/q", "B,H,T,Dh", "",
       "query columns of `c_attn`, bias included, of `attn_norm` (norm = post: of `input`), split "
       "into heads; no RoPE, not scaled",
       block},
      {part, "layers/{l}/attn/k", "B,Hkv,T,Dh", "", "key columns likewise", block},
      {part, "layers/{l}/attn/v", "B,Hkv,T,Dh", "", "value columns likewise", block},
      {part, "layers/{l}/attn/window", "B,T", "window_kind = dynamic", kWindow,
       ASSAY_WHERE(gpt2(c) && has_dynamic_window(c, l))},
      {part, "layers/{l}/attn/scores", "B,H,T,T", kPlainScores, kScores,
       ASSAY_WHERE(gpt2(c) && own_scores(c))},
      {part, "layers/{l}/attn/probs", "B,H,T,T", "", kProbs, block},
      {part, "layers/{l}/attn/context", "B,T,H*Dh", "", kContext, block},
      {part, "layers/{l}/attn/out", "B,T,D", "",
       "`O_l`: `attn.c_proj` of `attn/context`, bias included", block},
      {part, "layers/{l}/attn_residual", "B,T,D", "l = 0, or not 2, 4.x, plans",
       "`input + attn/out`: `Y_l` with norm = pre, what `attn_norm` reads with norm = post",
       ASSAY_WHERE(gpt2(c) && (l == 0 || !mixes_attn(c)))},
      {part, "layers/{l}/attn_norm", "B,T,D", "norm = post",
       "`Y_l`: LayerNorm `ln_1` of `attn_residual`", after},
      {part, "layers/{l}/mlp_norm", "B,T,D", "norm = pre", "LayerNorm `ln_2` of `attn_residual`",
       before},
      {part, "layers/{l}/mlp/up", "B,T,F", "",
       "`mlp.c_fc` of `mlp_norm` (norm = post: of `attn_norm`), bias included: what enters the "
       "GELU",
       block},
      {part, "layers/{l}/mlp/act", "B,T,F", "",
       "GELU of `mlp/up`: exact (`gelu`) or tanh form (`gelu_new`), as the config says", block},
      {part, "layers/{l}/mlp/out", "B,T,D", "", "`U_l`: `mlp.c_proj` of `mlp/act`, bias included",
       block},
      {part, "layers/{l}/output", "B,T,D", "norm = pre; l = 0, or not 1, 3.x",
       "`X_{l+1}`: `attn_residual + mlp/out`",
       ASSAY_WHERE(gpt2(c) && pre(c) && (l == 0 || !mixes_mlp(c)))},
      {part, "layers/{l}/mlp_residual", "B,T,D", "norm = post; l = 0, or not 1, 3.x",
       "`attn_norm + mlp/out`, what the second norm reads",
       ASSAY_WHERE(gpt2(c) && post(c) && (l == 0 || !mixes_mlp(c)))},
      {part, "layers/{l}/output", "B,T,D", "norm = post",
       "`X_{l+1}`: LayerNorm `ln_2` of `mlp_residual`", after},
      {part, "final_norm", "B,T,D", "norm = pre", "LayerNorm `ln_f` of the last layer's `output`",
       before},
      {part, "logits", "B,T,V", "",
       "`final_norm` (norm = post: the last `output`) times the transposed `wte` (untied: "
       "`lm_head.weight`)",
       block},
      {part, "loss", "", "", kLoss, block},
  };
}

Rows recompute_rows() {
  const std::string part = "Recomputes: methods 1 to 4.2 and the plans, l >= 1";
  const auto any = ASSAY_WHERE(mixes_attn(c) || mixes_mlp(c));
  const auto mlp = ASSAY_WHERE(mixes_mlp(c));
  return {
      {part, "layers/{l}/recompute/{j}/attn_norm", "B,T,D", "norm = pre",
       "layer j's attention norm of `layers/{l}/input`", ASSAY_WHERE(pre(c))},
      {part, "layers/{l}/recompute/{j}/v", "B,Hkv,T,Dh", "",
       "layer j's value projection of `recompute/{j}/attn_norm` (norm = post: of "
       "`layers/{l}/input`), split into heads",
       any},
      {part, "layers/{l}/recompute/{j}/context", "B,T,H*Dh", "",
       "`layers/{j}/attn/probs`, as they are, times `recompute/{j}/v`; heads side by side", any},
      {part, "layers/{l}/recompute/{j}/attn_out", "B,T,D", "",
       "`o_{j>l}`: layer j's output projection of `recompute/{j}/context`", any},
      {part, "layers/{l}/recompute/{j}/mlp_norm", "B,T,D", "1, 3.x; norm = pre",
       "layer j's MLP norm of `layers/{l}/input + recompute/{j}/attn_out`",
       ASSAY_WHERE(mixes_mlp(c) && pre(c))},
      {part, "layers/{l}/recompute/{j}/attn_norm", "B,T,D", "1, 3.x; norm = post",
       "layer j's `ln_1` of `layers/{l}/input + recompute/{j}/attn_out`, what its MLP reads",
       ASSAY_WHERE(mixes_mlp(c) && post(c))},
      {part, "layers/{l}/recompute/{j}/mlp_act", "B,T,F", "1, 3.x",
       "layer j's `silu(gate) * up` of it; on the GPT-2 block the GELU", mlp},
      {part, "layers/{l}/recompute/{j}/mlp_out", "B,T,D", "1, 3.x",
       "`r_{j>l}`: layer j's down projection of `recompute/{j}/mlp_act`", mlp},
      {part, "layers/{l}/attn/sum", "B,T,D", "2, 1-plan-a, 1-plan-b", "`sum_{j<l} o_{j>l}`",
       ASSAY_WHERE(is_any(c, {"2", "1-plan-a", "1-plan-b"}))},
      {part, "layers/{l}/attn/sum", "B,T,D", "4.1", "`(O_l + sum_{j<l} o_{j>l}) / m`, m = l + 1",
       ASSAY_WHERE(is_any(c, {"4.1"}))},
      {part, "layers/{l}/attn/sum", "B,T,D", "4.2",
       "`sum_{j<l} w_j o_{j>l} + w_l O_l`, w the softmax of `mix.weight`",
       ASSAY_WHERE(is_any(c, {"4.2"}))},
      {part, "layers/{l}/attn_residual", "B,T,D", "2, 1-plan-b",
       "`input + attn/out + attn/sum`; residual = replace (2): without `input`",
       ASSAY_WHERE(l > 0 && is_any(c, {"2", "1-plan-b"}))},
      {part, "layers/{l}/attn_residual", "B,T,D", "1-plan-a, 4.1, 4.2",
       "`input + attn/sum`; residual = replace (4.x): without `input`",
       ASSAY_WHERE(l > 0 && is_any(c, {"1-plan-a", "4.1", "4.2"}))},
      {part, "layers/{l}/mlp/sum", "B,T,D", "1", "`sum_{j<l} r_{j>l}`",
       ASSAY_WHERE(is_any(c, {"1"}))},
      {part, "layers/{l}/mlp/sum", "B,T,D", "3.1", "`(U_l + sum_{j<l} r_{j>l}) / m`, m = l + 1",
       ASSAY_WHERE(is_any(c, {"3.1"}))},
      {part, "layers/{l}/mlp/sum", "B,T,D", "3.2",
       "`sum_{j<l} w_j r_{j>l} + w_l U_l`, w the softmax of `mix.weight`",
       ASSAY_WHERE(is_any(c, {"3.2"}))},
      {part, "layers/{l}/output", "B,T,D", "1; norm = pre",
       "`attn_residual + mlp/out + mlp/sum`; residual = replace: without `attn_residual`",
       ASSAY_WHERE(pre(c) && l > 0 && is_any(c, {"1"}))},
      {part, "layers/{l}/output", "B,T,D", "3.1, 3.2; norm = pre",
       "`attn_residual + mlp/sum`; residual = replace: without `attn_residual`",
       ASSAY_WHERE(pre(c) && l > 0 && is_any(c, {"3.1", "3.2"}))},
      {part, "layers/{l}/mlp_residual", "B,T,D", "1; norm = post",
       "`attn_norm + mlp/out + mlp/sum`; residual = replace: without `attn_norm`",
       ASSAY_WHERE(post(c) && l > 0 && is_any(c, {"1"}))},
      {part, "layers/{l}/mlp_residual", "B,T,D", "3.1, 3.2; norm = post",
       "`attn_norm + mlp/sum`; residual = replace: without `attn_norm`",
       ASSAY_WHERE(post(c) && l > 0 && is_any(c, {"3.1", "3.2"}))},
  };
}

Rows score_rows() {
  const std::string part = "Scores: methods 5.x, C-base and D-base, either block";
  const std::string where = "; masked with -inf after the sum, as in the blocks";
  const auto row = [&](const char* methods, const std::string& meaning, auto applies) {
    return TensorMeaning{part,    "layers/{l}/attn/scores", "B,H,T,T",
                         methods, meaning + where,          applies};
  };
  return {
      row("5.1 to 5.8", "`sum_{i<=l} c_i S_i`, `S_i` the raw products of layer i's `q` and `k`",
          ASSAY_WHERE(find_method(c.method).family == Family::score_accumulation)),
      row("5.1A", "`sum_{i<=l} exp(W_i[t,s]) S_i[t,s] / sqrt(Dh)`",
          ASSAY_WHERE(is_any(c, {"5.1A"}))),
      row("5.1B", "`sum_{i<=l} exp(w_i[s]) S_i[t,s] / sqrt(Dh)`", ASSAY_WHERE(is_any(c, {"5.1B"}))),
      row("5.1C", "`sum_{i<=l} exp(w_i[t]) S_i[t,s] / sqrt(Dh)`", ASSAY_WHERE(is_any(c, {"5.1C"}))),
      row("5.1D", "`sum_{i<=l} exp(g_i[t]) S_i[t,s] / sqrt(Dh)`", ASSAY_WHERE(is_any(c, {"5.1D"}))),
      row("5.1E", "`sum_{i<=l} exp(g_i[s]) S_i[t,s] / sqrt(Dh)`", ASSAY_WHERE(is_any(c, {"5.1E"}))),
      row("C-base", "`S_l[t,s] / sqrt(Dh) (exp(w[t]) + 1) + c[t]`",
          ASSAY_WHERE(is_any(c, {"C-base"}))),
      row("D-base", "`S_l[t,s] / sqrt(Dh) exp(g[t])`", ASSAY_WHERE(is_any(c, {"D-base"}))),
  };
}

Rows pt_rows() {
  const std::string part = "Method pt, rounds n = 1 .. N";
  const auto pt = ASSAY_WHERE(is_pt(c));
  return {
      {part, "embed[/{m}]", "B,T,Dz", "", "`S`: unary scores, rows of `model.unary.weight`", pt},
      {part, "pt/0/labels[/{m}]", "B,T,Dz", "", "`Qz^(0)`: softmax of `embed`", pt},
      {part, "pt/0/heads[/{g}]", "B,C,T,T", "schedule = sync, or head_step < 1",
       "`Qh^(0)`: uniform over the words s that can be the head of word t; 0 where there is none",
       pt},
      {part, "pt/{n}/q[/{g}]", "B,K*C,T,r", "",
       "`Q_c`: `Qz U^(c)` of the labels before this round, distance group k's channel c at k*C + "
       "c; "
       "listed where the heads are updated or message = full",
       pt},
      {part, "pt/{n}/k[/{g}]", "B,K*C,T,r", "rounds in which the group speaks",
       "`V_c`: `Qz V^(c)` likewise", pt},
      {part, "pt/{n}/scores[/{g}]", "B,C,T,T", "rounds that update the group",
       "`Mh / lambda_h`, `Mh` the damped `F_c = Q_c V_c^T` (summed over label groups), word t, "
       "head "
       "s; -inf where s cannot be the head of t: `s = t`, padding on either side, and with causal "
       "heads `s > t`",
       pt},
      {part, "pt/{n}/heads[/{g}]", "B,C,T,T", "rounds that update the group",
       "`Qh`: softmax of `scores` over s; with head_step < 1 mixed with the heads before",
       ASSAY_WHERE(is_pt(c) && l > 0)},
      {part, "pt/{n}/message/{g}", "B,T,Dz", "rounds in which the group speaks",
       "`G` of one head or label group: `sum_c Qh_c V_c U^(c)T`, times 2 with message = symmetric, "
       "plus `sum_c Qh_c^T Q_c V^(c)T` with message = full; schedule = sync: `Qh` of the round "
       "before",
       pt},
      {part, "pt/{n}/message/sum", "B,T,Dz", "one label group",
       "sum of the messages of head groups", pt},
      {part, "pt/{n}/label_scores[/{m}]", "B,T,Dz", "", "`Mz / lambda_z`, `Mz` the damped `S + G`",
       pt},
      {part, "pt/{n}/labels[/{m}]", "B,T,Dz", "",
       "`Qz`: softmax of `label_scores`; with label_step < 1 mixed with the labels before",
       ASSAY_WHERE(is_pt(c) && l > 0)},
      {part, "logits", "B,T,V", "",
       "the last `label_scores` (read = labels: the last `labels`) times the transposed "
       "`lm_head.weight` (tied: `model.unary.weight`), summed over label groups",
       pt},
      {part, "loss", "", "",
       "mean cross-entropy of logits at t against the label at t (output = causal: at t+1), over "
       "the labels that are not -100",
       pt},
  };
}

#undef ASSAY_WHERE

// Whether `name` is `pattern` with numbers for {..} and with or without each [..]; `first` is the
// first number.
bool fits(std::string_view pattern, std::string_view name, int64_t* first) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '[') {
    const std::size_t end = pattern.find(']');
    const std::string_view rest = pattern.substr(end + 1);
    const std::string with = std::string(pattern.substr(1, end - 1)) + std::string(rest);
    return fits(with, name, first) || fits(rest, name, first);
  }
  if (pattern[0] == '{') {
    std::size_t digits = 0;
    while (digits < name.size() && std::isdigit(static_cast<unsigned char>(name[digits]))) ++digits;
    if (digits == 0) return false;
    if (first != nullptr) *first = std::stoll(std::string(name.substr(0, digits)));
    return fits(pattern.substr(pattern.find('}') + 1), name.substr(digits), nullptr);
  }
  if (name.empty() || pattern[0] != name[0]) return false;
  return fits(pattern.substr(1), name.substr(1), first);
}

}  // namespace

const std::vector<TensorMeaning>& tensor_meanings() {
  static const Rows all = [] {
    Rows rows;
    for (const Rows& part :
         {llama_rows(), gpt2_rows(), recompute_rows(), score_rows(), pt_rows()}) {
      rows.insert(rows.end(), part.begin(), part.end());
    }
    return rows;
  }();
  return all;
}

bool describes(const TensorMeaning& row, const ModelConfig& config, const std::string& name) {
  int64_t number = 0;
  return fits(row.name, name, &number) && row.applies(config, number);
}

bool is_tensor_name(const std::string& name) {
  const std::vector<TensorMeaning>& rows = tensor_meanings();
  return std::any_of(rows.begin(), rows.end(), [&](const TensorMeaning& row) {
    int64_t number = 0;
    return fits(row.name, name, &number);
  });
}

const TensorMeaning* meaning_of(const ModelConfig& config, const std::string& name) {
  for (const TensorMeaning& row : tensor_meanings()) {
    if (describes(row, config, name)) return &row;
  }
  return nullptr;
}

}  // namespace assay::golden
