#include "reference/blocks/gpt2.h"

#include <vector>

#include "golden/contract/names.h"
#include "reference/ops/add.h"
#include "reference/ops/attend.h"
#include "reference/ops/cross_entropy.h"
#include "reference/ops/embedding.h"
#include "reference/ops/gelu.h"
#include "reference/ops/layer_norm.h"
#include "reference/ops/linear.h"
#include "reference/ops/positions.h"
#include "reference/ops/scores.h"
#include "reference/ops/softmax.h"
#include "reference/ops/split_heads.h"

namespace assay::reference {
namespace {

using golden::ModelConfig;

struct Affine {
  Node weight, bias;
};

// The weights of one layer.
struct Weights {
  Affine attn_norm;  // ln_1: [D], [D]
  Affine attn;       // Wq, Wk, Wv side by side: [D, (H + 2 Hkv) Dh]
  Affine attn_proj;  // [H*Dh, D]
  Affine mlp_norm;   // ln_2: [D], [D]
  Affine mlp_fc;     // [D,F]
  Affine mlp_proj;   // [F,D]
};

Affine norm_weights(Graph& graph, const ModelConfig& c, const std::string& name) {
  return {graph.weight(name + ".weight", {c.hidden_size}),
          graph.weight(name + ".bias", {c.hidden_size})};
}

Weights weights_of(Graph& graph, const ModelConfig& c, int64_t index) {
  const int64_t d = c.hidden_size, f = c.intermediate_size;
  const int64_t q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  const std::string layer = golden::layer_weight(c, index, "");
  const auto matrix = [&](const std::string& name, int64_t inputs, int64_t outputs) {
    return Affine{graph.weight(layer + name + ".weight", {inputs, outputs}),
                  graph.weight(layer + name + ".bias", {outputs})};
  };
  return {.attn_norm = norm_weights(graph, c, layer + "ln_1"),
          .attn = matrix("attn.c_attn", d, q + 2 * kv),
          .attn_proj = matrix("attn.c_proj", q, d),
          .mlp_norm = norm_weights(graph, c, layer + "ln_2"),
          .mlp_fc = matrix("mlp.c_fc", d, f),
          .mlp_proj = matrix("mlp.c_proj", f, d)};
}

Node project(Node x, const Affine& w) { return linear(x, w.weight, w.bias, WeightLayout::in_out); }

// `count` heads of Wq, Wk or Wv, the first of them at head `first` of c_attn.
Node heads(const ModelConfig& c, Node h, const Affine& attn, int64_t first, int64_t count,
           char axis) {
  const Columns columns{first * c.head_dim, count * c.head_dim};
  return split_heads(linear(h, attn.weight, attn.bias, WeightLayout::in_out, columns), count, axis);
}

Node normed(const ModelConfig& c, Node x, const Affine& w) {
  return layer_norm(x, w.weight, w.bias, c.layer_norm_eps);
}

Gelu gelu_form(const ModelConfig& c) {
  return c.activation == golden::Activation::gelu ? Gelu::exact : Gelu::tanh;
}

Layer make_layer(const ModelConfig& c, const Weights& w, int64_t index) {
  const bool pre = c.norm == golden::NormPosition::pre;
  const int64_t query_heads = c.num_attention_heads, key_heads = c.num_key_value_heads;
  Layer layer;
  layer.index = index;
  if (pre) layer.attn_norm = [=](Node x) { return normed(c, x, w.attn_norm); };
  layer.value_heads = [=](Node h) {
    return heads(c, h, w.attn, query_heads + key_heads, key_heads, 'G');
  };
  layer.attn_out = [=](Node context) { return project(context, w.attn_proj); };
  layer.mlp_norm = [=, by = pre ? w.mlp_norm : w.attn_norm](Node x) { return normed(c, x, by); };
  layer.mlp_norm_name = pre ? "mlp_norm" : "attn_norm";
  layer.mlp_act = [=](Node n) { return gelu(project(n, w.mlp_fc), gelu_form(c)); };
  layer.mlp_out = [=](Node act) { return project(act, w.mlp_proj); };
  return layer;
}

// One layer: X_l to X_{l+1}. Fills what later layers may read.
Node run_layer(const ModelConfig& c, const Method& method, const Weights& w, Layer& layer,
               std::span<const Layer> earlier, Node x, Node attention_mask) {
  const bool pre = c.norm == golden::NormPosition::pre;
  const int64_t query_heads = c.num_attention_heads, key_heads = c.num_key_value_heads;
  const Site site{c, layer, earlier, x};
  const Node h = layer.attn_input = pre ? named(site, layer.attn_norm(x), "attn_norm") : x;

  const Node q = named(site, heads(c, h, w.attn, 0, query_heads, 'H'), "attn/q");  // [B,H,T,Dh]
  const Node k = named(site, heads(c, h, w.attn, query_heads, key_heads, 'G'), "attn/k");
  const Node v = named(site, layer.value_heads(h), "attn/v");  // k, v [B,Hkv,T,Dh]

  layer.raw_scores = attention_scores(q, k);  // [B,H,T,T]
  const Node scores = named(site, masked_scores(site, method, attention_mask), "attn/scores");
  layer.probs = named(site, softmax(scores), "attn/probs");                  // [B,H,T,T]
  const Node context = named(site, attend(layer.probs, v), "attn/context");  // [B,T,H*Dh]
  const Node attn_out = named(site, layer.attn_out(context), "attn/out");    // [B,T,D]
  const Node sum = named(site, method.after_attention(site, attn_out), "attn_residual");

  const Node n = named(site, layer.mlp_norm(sum), layer.mlp_norm_name);  // [B,T,D]
  const Node y = pre ? sum : n;                                          // Y_l [B,T,D]
  const Node up = named(site, project(n, w.mlp_fc), "mlp/up");           // [B,T,F]
  const Node act = named(site, gelu(up, gelu_form(c)), "mlp/act");       // [B,T,F]
  const Node mlp_out = named(site, layer.mlp_out(act), "mlp/out");       // [B,T,D]
  const Node next = method.after_mlp(site, y, mlp_out);                  // [B,T,D]
  if (pre) return named(site, next, "output");
  return named(site, normed(c, named(site, next, "mlp_residual"), w.mlp_norm), "output");
}

}  // namespace

std::unique_ptr<Graph> build_gpt2(const ModelConfig& c, const Method& method, int64_t batch,
                                  int64_t positions) {
  auto graph = std::make_unique<Graph>();
  const Node tokens = graph->input("tokens", {batch, positions}, "BT");
  const Node attention_mask = graph->input("attention_mask", {batch, positions}, "BT");
  const Node labels = graph->input("labels", {batch, positions}, "BT");
  const Node table = graph->weight("transformer.wte.weight", {c.vocab_size, c.hidden_size});
  const Node learned_positions =
      graph->weight("transformer.wpe.weight", {c.max_position_embeddings, c.hidden_size});

  Node x = graph->name(add_positions(embedding(tokens, table), learned_positions), "embed");
  std::vector<Layer> layers;
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    const Weights weights = weights_of(*graph, c, l);
    Layer layer = make_layer(c, weights, l);
    x = graph->name(sum({x}), golden::layer_name(l, "input"));
    x = run_layer(c, method, weights, layer, layers, x, attention_mask);
    layers.push_back(layer);
  }
  if (c.norm == golden::NormPosition::pre) {
    x = graph->name(normed(c, x, norm_weights(*graph, c, "transformer.ln_f")), "final_norm");
  }
  const Node head = c.tie_word_embeddings
                        ? table
                        : graph->weight("lm_head.weight", {c.vocab_size, c.hidden_size});
  const Node logits = graph->name(linear(x, head), "logits");  // [B,T,V]
  graph->name(cross_entropy(logits, labels), "loss");          // []
  return graph;
}

}  // namespace assay::reference
