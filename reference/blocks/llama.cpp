#include "reference/blocks/llama.h"

#include <vector>

#include "golden/contract/names.h"
#include "reference/ops/add.h"
#include "reference/ops/attend.h"
#include "reference/ops/cross_entropy.h"
#include "reference/ops/embedding.h"
#include "reference/ops/linear.h"
#include "reference/ops/rms_norm.h"
#include "reference/ops/rope.h"
#include "reference/ops/scores.h"
#include "reference/ops/softmax.h"
#include "reference/ops/split_heads.h"
#include "reference/ops/swiglu.h"

namespace assay::reference {
namespace {

using golden::ModelConfig;

struct Projection {
  Node weight, bias;  // [outputs,inputs] [outputs]; no bias where the model has none
};

// The weights of one layer.
struct Weights {
  Node attn_norm;                       // [D]
  Projection wq, wk, wv, wo;            // [H*Dh,D] [Hkv*Dh,D] [Hkv*Dh,D] [D,H*Dh]
  Node q_norm, k_norm;                  // [Dh], with qk_norm
  Node mlp_norm, w_gate, w_up, w_down;  // [D] [F,D] [F,D] [D,F]
};

Weights weights_of(Graph& graph, const ModelConfig& c, int64_t index) {
  const int64_t d = c.hidden_size, f = c.intermediate_size;
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  const auto weight = [&](const std::string& name, Shape shape) {
    return graph.weight(golden::layer_weight(c, index, name) + ".weight", std::move(shape));
  };
  const auto projection = [&](const std::string& name, int64_t outputs, int64_t inputs,
                              bool biased) {
    Projection p{weight(name, {outputs, inputs}), {}};
    if (biased) p.bias = graph.weight(golden::layer_weight(c, index, name) + ".bias", {outputs});
    return p;
  };
  const auto head_norm = [&](const std::string& name) {
    return c.qk_norm ? weight(name, {c.head_dim}) : Node{};
  };
  const bool biased = c.attention_bias != golden::AttentionBias::none;
  return {
      .attn_norm = weight("input_layernorm", {d}),
      .wq = projection("self_attn.q_proj", q, d, biased),
      .wk = projection("self_attn.k_proj", kv, d, biased),
      .wv = projection("self_attn.v_proj", kv, d, biased),
      .wo = projection("self_attn.o_proj", d, q, c.attention_bias == golden::AttentionBias::all),
      .q_norm = head_norm("self_attn.q_norm"),
      .k_norm = head_norm("self_attn.k_norm"),
      .mlp_norm = weight("post_attention_layernorm", {d}),
      .w_gate = weight("mlp.gate_proj", {f, d}),
      .w_up = weight("mlp.up_proj", {f, d}),
      .w_down = weight("mlp.down_proj", {d, f})};
}

Node project(Node x, const Projection& by) {
  if (by.bias.graph == nullptr) return linear(x, by.weight);
  return linear(x, by.weight, by.bias, WeightLayout::out_in);
}

Layer make_layer(const ModelConfig& c, const Weights& w, int64_t index) {
  const double eps = c.rms_norm_eps;
  const int64_t value_heads = c.num_key_value_heads;
  return {.index = index,
          .attn_norm = [=](Node x) { return rms_norm(x, w.attn_norm, eps); },
          .value_heads = [=](Node h) { return split_heads(project(h, w.wv), value_heads, 'G'); },
          .attn_out = [=](Node context) { return project(context, w.wo); },
          .mlp_norm = [=](Node y) { return rms_norm(y, w.mlp_norm, eps); },
          .mlp_act = [=](Node n) { return swiglu(linear(n, w.w_gate), linear(n, w.w_up)); },
          .mlp_out = [=](Node act) { return linear(act, w.w_down); },
          .attn_input = {},
          .raw_scores = {},
          .probs = {}};
}

// The heads of q or k, [B,n,T,Dh]: projected, normed where the model does so, turned.
Node turned_heads(const Site& site, Node h, const Projection& by, Node gain, int64_t count,
                  char axis, const std::string& tensor) {
  const ModelConfig& c = site.config;
  Node x = split_heads(project(h, by), count, axis);
  if (c.qk_norm) {
    x = named(site, x, tensor + "_proj");
    x = named(site, rms_norm(x, gain, c.rms_norm_eps), tensor + "_norm");
  }
  return named(site, rope(x, c.rope_theta, c.rope_scaling), tensor);
}

// One layer: X_l to X_{l+1}. Fills what later layers may read.
Node run_layer(const ModelConfig& c, const Method& method, const Weights& w, Layer& layer,
               std::span<const Layer> earlier, Node x, Node attention_mask) {
  const Site site{c, layer, earlier, x};
  const Node h = layer.attn_input = named(site, layer.attn_norm(x), "attn_norm");  // [B,T,D]

  const int64_t query_heads = c.num_attention_heads, key_heads = c.num_key_value_heads;
  const Node q = turned_heads(site, h, w.wq, w.q_norm, query_heads, 'H', "attn/q");  // [B,H,T,Dh]
  const Node k = turned_heads(site, h, w.wk, w.k_norm, key_heads, 'G', "attn/k");    // [B,Hkv,T,Dh]
  const Node v = named(site, layer.value_heads(h), "attn/v");                        // [B,Hkv,T,Dh]

  layer.raw_scores = attention_scores(q, k);  // [B,H,T,T]
  const Node scores = named(site, masked_scores(site, method, attention_mask), "attn/scores");
  layer.probs = named(site, softmax(scores), "attn/probs");                  // [B,H,T,T]
  const Node context = named(site, attend(layer.probs, v), "attn/context");  // [B,T,H*Dh]
  const Node attn_out = named(site, layer.attn_out(context), "attn/out");    // [B,T,D]
  const Node y = named(site, method.after_attention(site, attn_out), "attn_residual");

  const Node n = named(site, layer.mlp_norm(y), "mlp_norm");
  const Node gate = named(site, linear(n, w.w_gate), "mlp/gate");    // [B,T,F]
  const Node up = named(site, linear(n, w.w_up), "mlp/up");          // [B,T,F]
  const Node act = named(site, swiglu(gate, up), "mlp/act");         // [B,T,F]
  const Node mlp_out = named(site, layer.mlp_out(act), "mlp/out");   // [B,T,D]
  return named(site, method.after_mlp(site, y, mlp_out), "output");  // [B,T,D]
}

}  // namespace

std::unique_ptr<Graph> build_llama(const ModelConfig& c, const Method& method, int64_t batch,
                                   int64_t positions) {
  auto graph = std::make_unique<Graph>();
  const Node tokens = graph->input("tokens", {batch, positions}, "BT");
  const Node attention_mask = graph->input("attention_mask", {batch, positions}, "BT");
  const Node labels = graph->input("labels", {batch, positions}, "BT");
  const Node table = graph->weight("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});

  Node x = graph->name(embedding(tokens, table), "embed");  // [B,T,D]
  std::vector<Layer> layers;
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    const Weights weights = weights_of(*graph, c, l);
    Layer layer = make_layer(c, weights, l);
    x = graph->name(sum({x}), golden::layer_name(l, "input"));
    x = run_layer(c, method, weights, layer, layers, x, attention_mask);
    layers.push_back(layer);
  }
  const Node gain = graph->weight("model.norm.weight", {c.hidden_size});
  const Node head = c.tie_word_embeddings
                        ? table
                        : graph->weight("lm_head.weight", {c.vocab_size, c.hidden_size});
  const Node last = graph->name(rms_norm(x, gain, c.rms_norm_eps), "final_norm");  // [B,T,D]
  const Node logits = graph->name(linear(last, head), "logits");                   // [B,T,V]
  graph->name(cross_entropy(logits, labels), "loss");                              // []
  return graph;
}

}  // namespace assay::reference
