#include "tests/mutants/backward/backward_mutants.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "golden/contract/precision.h"

namespace assay::mutants {
namespace {

using golden::BlockKind;
using golden::ModelConfig;

ModelConfig tiny(const std::string& method = "plain", BlockKind block = BlockKind::llama) {
  ModelConfig config = golden::preset("tiny", block);
  config.method = method;
  return config;
}

ModelConfig tied() {
  ModelConfig config = tiny();
  config.tie_word_embeddings = true;
  return config;
}

ModelConfig without_groups() {
  ModelConfig config = tiny();
  config.num_key_value_heads = config.num_attention_heads;
  return config;
}

ModelConfig detached(const std::string& method) {
  ModelConfig config = tiny(method);
  config.detach_stored = true;
  return config;
}

// The right rule's parts, with changes to them.
DefectiveRule changed(const std::function<void(const BackwardCall&, std::vector<Array>&)>& change) {
  return [change](const BackwardCall& call) {
    std::vector<Array> parts = call.parts();
    change(call, parts);
    for (std::size_t i = 0; i < parts.size(); ++i) add_to(call.grad_in[i], parts[i]);
  };
}

DefectiveRule scaled_by(double factor) {
  return [factor](const BackwardCall& call) {
    const std::vector<Array> parts = call.parts();
    for (std::size_t i = 0; i < parts.size(); ++i) add_to(call.grad_in[i], parts[i], factor);
  };
}

DefectiveRule without_operand(std::size_t operand) {
  return changed([operand](const BackwardCall&, std::vector<Array>& parts) {
    if (operand < parts.size()) parts[operand] = Array();
  });
}

// Rows of the last axis.
int64_t rows_of(const Array& x) { return x.size() / x.shape().back(); }

// ------------------------------------------------------------------------------------------------
// attention

void no_delta(const BackwardCall& call) {  // dS = P dP: the row's sum of P dP is not subtracted
  for (int64_t i = 0; i < call.out.size(); ++i) {
    call.grad_in[0].data()[i] += call.out.data()[i] * call.grad_out.data()[i];
  }
}

void delta_of_another_row(const BackwardCall& call) {  // the delta of the row before
  const int64_t keys = call.out.shape().back(), rows = rows_of(call.out);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t from = std::max<int64_t>(0, row - 1);
    double delta = 0;
    for (int64_t s = 0; s < keys; ++s) {
      delta += call.out.data()[from * keys + s] * call.grad_out.data()[from * keys + s];
    }
    for (int64_t i = row * keys; i < (row + 1) * keys; ++i) {
      call.grad_in[0].data()[i] += call.out.data()[i] * (call.grad_out.data()[i] - delta);
    }
  }
}

// dV of attention in which every key is as likely as a visible one.
void unmasked_values(const BackwardCall& call) {
  const Array& probs = call.in[0];
  Array unmasked = Array::copy_of(probs.shape(), probs.values());
  const int64_t keys = probs.shape().back();
  for (int64_t i = 0; i < unmasked.size(); ++i) {
    if (unmasked.data()[i] == 0) unmasked.data()[i] = 1.0 / static_cast<double>(keys);
  }
  std::vector<Array> in(call.in.begin(), call.in.end());
  in[0] = unmasked;
  call.op.gradient(in, call.out, call.grad_out, call.grad_in);
}

// Of a shared head the share of the first query head of its group alone.
DefectiveRule first_of_group(std::size_t shared) {
  return [shared](const BackwardCall& call) {
    const Array& of_heads = shared == 1 && call.in[0].shape().size() == 4 ? call.in[0] : call.out;
    const int64_t heads = of_heads.shape()[1], groups = call.in[shared].shape()[1];
    Array first = Array::copy_of(call.grad_out.shape(), call.grad_out.values());
    const auto& shape = first.shape();
    for (int64_t i = 0; i < first.size(); ++i) {  // [B,H,T,S], or [B,T,H*Dh]
      const int64_t head =
          shape.size() == 4 ? i / (shape[2] * shape[3]) % heads : i % shape[2] / (shape[2] / heads);
      if (head % (heads / groups) != 0) first.data()[i] = 0;
    }
    std::vector<Array> right = call.parts();
    std::vector<Array> lost{right.size()};
    for (std::size_t i = 0; i < right.size(); ++i) {
      if (!right[i].absent()) lost[i] = Array::zeros(right[i].shape());
    }
    call.op.gradient(call.in, call.out, first, lost);
    for (std::size_t i = 0; i < right.size(); ++i) {
      add_to(call.grad_in[i], i == shared ? lost[i] : right[i]);
    }
  };
}

void swapped_operands(const BackwardCall& call, std::vector<Array>& parts) {
  if (call.grad_in.size() > 1) std::swap(parts[0], parts[1]);
}

// ------------------------------------------------------------------------------------------------
// norms and pointwise

// dx = g dy / r: without what the root gives.
void no_mean_term(const BackwardCall& call, std::vector<Array>& parts) {
  const int64_t width = call.in[1].size();
  for (int64_t row = 0; row < rows_of(call.out); ++row) {
    const double* x = call.in[0].data() + row * width;
    double squares = 0;
    for (int64_t d = 0; d < width; ++d) squares += x[d] * x[d];
    const double root = std::sqrt(squares / static_cast<double>(width) + 1e-5);
    for (int64_t d = 0; d < width; ++d) {
      const int64_t i = row * width + d;
      parts[0].data()[i] = call.in[1].data()[d] * call.grad_out.data()[i] / root;
    }
  }
}

// A column sum that starts at the second row.
DefectiveRule first_row_missing(std::size_t operand) {
  return [operand](const BackwardCall& call) {
    Array cut = Array::copy_of(call.grad_out.shape(), call.grad_out.values());
    const int64_t width = cut.shape().back();
    std::fill(cut.data(), cut.data() + width, 0.0);
    const std::vector<Array> right = call.parts();
    std::vector<Array> without{right.size()};
    for (std::size_t i = 0; i < right.size(); ++i) {
      if (!right[i].absent()) without[i] = Array::zeros(right[i].shape());
    }
    call.op.gradient(call.in, call.out, cut, without);
    for (std::size_t i = 0; i < right.size(); ++i) {
      add_to(call.grad_in[i], i == operand ? without[i] : right[i]);
    }
  };
}

void swish_without_slope(const BackwardCall& call, std::vector<Array>& parts) {
  for (int64_t i = 0; i < call.out.size(); ++i) {  // d silu = sigmoid
    const double gate = call.in[0].data()[i], up = call.in[1].data()[i];
    parts[0].data()[i] = call.grad_out.data()[i] * up / (1 + std::exp(-gate));
  }
}

void gelu_without_slope(const BackwardCall& call, std::vector<Array>& parts) {
  for (int64_t i = 0; i < call.out.size(); ++i) {  // d gelu = gelu / x
    const double x = call.in[0].data()[i];
    parts[0].data()[i] = x == 0 ? 0 : call.grad_out.data()[i] * call.out.data()[i] / x;
  }
}

// ------------------------------------------------------------------------------------------------
// both ends

void last_token_wins(const BackwardCall& call) {
  const int64_t width = call.out.shape().back();
  Array kept = Array::zeros(call.grad_in[1].shape());
  for (int64_t row = 0; row < rows_of(call.out); ++row) {
    const auto token = static_cast<int64_t>(call.in[0].data()[row]);
    std::copy(call.grad_out.data() + row * width, call.grad_out.data() + (row + 1) * width,
              kept.data() + token * width);
  }
  add_to(call.grad_in[1], kept);
}

int64_t labels_that_count(const BackwardCall& call) {
  const int64_t positions = call.in[1].shape()[1];
  int64_t count = 0;
  for (int64_t i = 0; i < call.in[1].size(); ++i) {
    count += i % positions > 0 && call.in[1].data()[i] >= 0;
  }
  return count;
}

void not_divided(const BackwardCall& call) {
  scaled_by(static_cast<double>(labels_that_count(call)))(call);
}

void divided_by_all(const BackwardCall& call) {  // those that do not count are in the divisor
  const auto positions = static_cast<double>(call.in[1].size() - call.in[1].shape()[0]);
  scaled_by(static_cast<double>(labels_that_count(call)) / positions)(call);
}

void labels_in_place(const BackwardCall& call) {  // those of the position itself
  Array shifted = Array::copy_of(call.in[1].shape(), call.in[1].values());
  const int64_t positions = shifted.shape()[1];
  for (int64_t i = shifted.size() - 1; i > 0; --i) {
    if (i % positions > 0) shifted.data()[i] = call.in[1].data()[i - 1];
  }
  std::vector<Array> in(call.in.begin(), call.in.end());
  in[1] = shifted;
  call.op.gradient(in, call.out, call.grad_out, call.grad_in);
}

void no_label_subtracted(const BackwardCall& call, std::vector<Array>& parts) {
  const int64_t vocab = call.in[0].shape()[2], positions = call.in[1].shape()[1];
  for (int64_t row = 0; row + 1 < call.in[1].size(); ++row) {
    const double label = call.in[1].data()[row + 1];
    if (row % positions == positions - 1 || label < 0) continue;
    parts[0].data()[row * vocab + static_cast<int64_t>(label)] +=
        call.grad_out.data()[0] / static_cast<double>(labels_that_count(call));
  }
}

// ------------------------------------------------------------------------------------------------

// The gradient of an operand from that of the result's first batch row alone.
void of_first_batch_row(const BackwardCall& call, std::vector<Array>& parts) {
  Array gradient = Array::copy_of(call.grad_out.shape(), call.grad_out.values());
  const int64_t batch = gradient.shape()[0], row = gradient.size() / batch;
  std::fill(gradient.data() + row, gradient.data() + gradient.size(), 0.0);
  std::vector<Array> first{Array(), Array::zeros(parts[1].shape())};
  call.op.gradient(call.in, call.out, gradient, first);
  parts[1] = first[1];
}

// A weight's gradient that is kept in bfloat16.
void narrow_sum(const BackwardCall&, std::vector<Array>& parts) {
  for (double& x : parts[1].values()) x = golden::round_to(golden::Precision::bf16, x);
}

void rotated_forwards(const BackwardCall& call) {
  Array turned = Array::zeros(call.grad_out.shape());
  std::vector<Array> in{call.grad_out};
  call.op.value(in, turned);
  add_to(call.grad_in[0], turned);
}

std::string layer(const std::string& weight, int l) {
  return "model.layers." + std::to_string(l) + "." + weight + ".weight";
}

void add_attention(std::vector<BackwardMutant>& list) {
  const std::string q = layer("self_attn.q_proj", 1), k = layer("self_attn.k_proj", 1);
  const std::string v = layer("self_attn.v_proj", 1);
  list.push_back({"the scores' scale is lost", tiny(), "scale",
                  "scale (before layers/1/attn/scores", scaled_by(std::sqrt(8.0)),
                  "layers/1/attn/k", k});
  list.push_back({"delta is not subtracted", tiny(), "softmax", "layers/1/attn/probs", no_delta,
                  "layers/1/attn/scores", k});
  list.push_back({"delta is that of another row", tiny(), "softmax", "layers/1/attn/probs",
                  delta_of_another_row, "layers/1/attn/scores", k});
  list.push_back({"the mask is lost where dV is formed", tiny(), "attend", "layers/1/attn/context",
                  unmasked_values, "layers/1/attn/v", v});
  list.push_back({"dQ and dK are swapped", without_groups(), "attention_scores",
                  "attention_scores (before layers/1/attn/scores", changed(swapped_operands),
                  "layers/1/attn/k", k});
  list.push_back({"dK of the group's first head alone", tiny(), "attention_scores",
                  "attention_scores (before layers/1/attn/scores", first_of_group(1),
                  "layers/1/attn/k", k});
  list.push_back({"dV of the group's first head alone", tiny(), "attend", "layers/1/attn/context",
                  first_of_group(1), "layers/1/attn/v", v});
  list.push_back({"dP is lost", tiny(), "attend", "layers/1/attn/context", without_operand(0),
                  "layers/1/attn/probs", k});
  list.push_back({"dQ turns forwards", tiny(), "rope", "layers/1/attn/q", rotated_forwards,
                  layer("self_attn.q_proj", 1), q});
}

void add_blocks(std::vector<BackwardMutant>& list) {
  const ModelConfig gpt2 = tiny("plain", BlockKind::gpt2);
  const std::string out = layer("self_attn.o_proj", 1);
  list.push_back({"the norm's root is taken as constant", tiny(), "rms_norm", "layers/1/mlp_norm",
                  changed(no_mean_term), "layers/1/attn_residual", out});
  list.push_back({"the gain's gradient lacks a row", tiny(), "rms_norm", "layers/1/mlp_norm",
                  first_row_missing(1), layer("post_attention_layernorm", 1),
                  layer("post_attention_layernorm", 1)});
  list.push_back({"silu's slope is its sigmoid", tiny(), "swiglu", "layers/1/mlp/act",
                  changed(swish_without_slope), "layers/1/mlp/gate", layer("mlp.gate_proj", 1)});
  list.push_back({"gelu's slope is gelu / x", gpt2, "gelu_tanh", "layers/1/mlp/act",
                  changed(gelu_without_slope), "layers/1/mlp/up", "transformer.h.1.mlp.c_fc.bias"});
  list.push_back({"a bias' gradient lacks a row", gpt2, "linear", "layers/1/mlp/out",
                  first_row_missing(2), "transformer.h.1.mlp.c_proj.bias",
                  "transformer.h.1.mlp.c_proj.bias", InBf16::with_tensors});
  list.push_back({"the layer norm's bias is lost", gpt2, "layer_norm", "layers/1/mlp_norm",
                  without_operand(2), "transformer.h.1.ln_2.bias", "transformer.h.1.ln_2.bias"});
  list.push_back({"positions of the first batch row alone", gpt2, "add_positions", "",
                  changed(of_first_batch_row), "transformer.wpe.weight", "transformer.wpe.weight"});
  list.push_back({"the residual's gradient is lost", tiny(), "add", "layers/1/output",
                  without_operand(0), "layers/1/attn_residual", out});
  list.push_back({"dW of the first batch row alone", tiny(), "linear", "layers/1/mlp/up",
                  changed(of_first_batch_row), layer("mlp.up_proj", 1), layer("mlp.up_proj", 1)});
  list.push_back({"dW is kept in bfloat16", tiny(), "linear", "layers/1/mlp/up",
                  changed(narrow_sum), layer("mlp.up_proj", 1), layer("mlp.up_proj", 1),
                  InBf16::hidden});
  list.push_back({"dX of gate is lost", tiny(), "linear", "layers/1/mlp/gate", without_operand(0),
                  "layers/1/mlp_norm", layer("post_attention_layernorm", 1)});
}

void add_ends(std::vector<BackwardMutant>& list) {
  const std::string table = "model.embed_tokens.weight", head = "lm_head.weight";
  list.push_back({"of a token that stands twice the last one counts", tiny(), "embedding", "embed",
                  last_token_wins, table, table});
  list.push_back({"not divided by the labels that count", tiny(), "cross_entropy", "loss",
                  not_divided, "logits", head});
  list.push_back(
      {"divided by all labels", tiny(), "cross_entropy", "loss", divided_by_all, "logits", head});
  list.push_back(
      {"labels are not shifted", tiny(), "cross_entropy", "loss", labels_in_place, "logits", head});
  list.push_back({"the label is not subtracted", tiny(), "cross_entropy", "loss",
                  changed(no_label_subtracted), "logits", head});
  list.push_back({"the loss scale is not undone", tiny(), "cross_entropy", "loss", scaled_by(1024),
                  "logits", head});
  list.push_back({"tied: the head's part is lost", tied(), "linear", "logits", without_operand(1),
                  table, table, InBf16::with_tensors});
  list.push_back({"tied: the embedding's part is lost", tied(), "embedding", "embed",
                  without_operand(1), table, table, InBf16::with_tensors});
}

void add_methods(std::vector<BackwardMutant>& list) {
  const std::string again = "layers/2/recompute/0/";
  list.push_back({"1: the gradient of one recompute is lost", tiny("1"), "add", "layers/2/mlp/sum",
                  without_operand(0), again + "mlp_out", layer("mlp.down_proj", 1)});
  list.push_back({"2: the gradient of one recompute is lost", tiny("2"), "add", "layers/2/attn/sum",
                  without_operand(1), "layers/2/recompute/1/attn_out", layer("mlp.down_proj", 1)});
  list.push_back({"1: none through stored probabilities", tiny("1"), "attend", again + "context",
                  without_operand(0), "layers/0/attn/probs", layer("self_attn.k_proj", 0),
                  InBf16::with_tensors});
  list.push_back({"1: detached probabilities are not", detached("1"), "detach", "",
                  [](const BackwardCall& call) { add_to(call.grad_in[0], call.grad_out); },
                  "layers/1/attn/probs", layer("self_attn.k_proj", 1)});
  list.push_back({"3.2: the weights' gradient is lost", tiny("3.2"), "weighted_sum",
                  "layers/2/mlp/sum", without_operand(3), "model.layers.2.mix.weight",
                  "model.layers.2.mix.weight", InBf16::with_tensors});
  list.push_back({"5.1: the score of an earlier layer is lost", tiny("5.1"), "add",
                  "add (before layers/2/attn/scores", without_operand(0), "layers/0/attn/k",
                  layer("self_attn.k_proj", 0)});
}

}  // namespace

std::vector<BackwardMutant> backward_mutants() {
  std::vector<BackwardMutant> list;
  add_attention(list);
  add_blocks(list);
  add_ends(list);
  add_methods(list);
  return list;
}

}  // namespace assay::mutants
