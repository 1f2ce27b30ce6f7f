// What a model is: the keys of a Hugging Face config.json (Llama, Mistral, Qwen2, Qwen3 or GPT-2)
// plus the method and its options.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "golden/contract/prob_transformer.h"
#include "golden/contract/tensor.h"

namespace assay::golden {

// rope_scaling of kind "llama3": low frequencies are divided by factor, high ones kept.
struct RopeScaling {
  double factor = 8.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position_embeddings = 8192;
};

// The maths of a layer: blocks/llama.h and blocks/gpt2.h of the reference.
enum class BlockKind { llama, gpt2 };

// Whether a norm stands before each part of a block or after its residual. Llama has pre.
enum class NormPosition { pre, post };

// Which projections of the Llama block's attention have a bias: none, q, k and v (Qwen2), or o as
// well (attention_bias of Llama and Qwen3). Every projection of the GPT-2 block has one.
enum class AttentionBias { none, qkv, all };

// Of the GPT-2 block's MLP: GELU with tanh (gelu_new) or with erf (gelu). Llama's is SwiGLU.
enum class Activation { gelu_new, gelu };

// Which positions a window of W lets a query t see: fixed, t-W < s <= t; centred, |s-t| <=
// floor(W/2), of bidirectional models alone, for it sees later positions; dynamic, t-W_t < s <= t
// with a W_t of window_min .. W of its own for every query.
enum class WindowKind { fixed, centred, dynamic };

// Whether a recompute method keeps the block's own residual at its site in layers l >= 1.
enum class Residual { keep, replace };

// How drawn weights set the learned parameters of a method: away from the values that training
// starts from (where methods coincide), or at them. Weights from elsewhere are what they are.
enum class Params { generic, initial };

// Names in comments elsewhere: D = hidden_size, F = intermediate_size, L = num_hidden_layers,
// H = num_attention_heads, Hkv = num_key_value_heads, Dh = head_dim, V = vocab_size.
struct ModelConfig {
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000.0;
  std::optional<RopeScaling> rope_scaling = std::nullopt;
  bool tie_word_embeddings = false;

  BlockKind block = BlockKind::llama;
  NormPosition norm = NormPosition::pre;
  Activation activation = Activation::gelu_new;
  double layer_norm_eps = 1e-5;  // of the GPT-2 block

  // The keys of attention in every layer: query t sees real keys s with t - window < s <= t, and
  // those with s < sink_tokens. window 0: all real keys s <= t.
  // Of method pt the window is centred and of its heads, which stand within it.
  int64_t window = 0;
  WindowKind window_kind = WindowKind::fixed;
  int64_t window_min = 1;                 // the least W_t, with a dynamic window only
  int64_t sink_tokens = 0;                // with a fixed or a dynamic window only
  std::vector<int64_t> full_layers = {};  // layers that the window is not of, ascending

  // Of the Llama block.
  AttentionBias attention_bias = AttentionBias::none;
  bool qk_norm = false;  // RMSNorm over each head of q and k, in front of RoPE (Qwen3)

  // The method by its number and its options; golden/contract/methods.h says which method takes
  // which.
  std::string method = "plain";
  Residual residual = Residual::keep;
  bool detach_stored = false;       // stored probabilities are constants for gradients
  std::string form = "";            // of the coefficients; "" is the method's default
  double score_gate_eps = 0x1p-52;  // of the norm inside the gate of 5.1D, 5.1E, D-base
  // P, the positions that parameters of 5.1A, 5.1B, 5.1C and C-base are for; 0 means
  // max_position_embeddings. A run with T <= P reads the first T of them.
  int64_t score_positions = 0;
  Params params = Params::generic;
  ProbTransformer pt = {};  // of method pt
};

// The window of one layer, 0 for none.
int64_t window_of(const ModelConfig& config, int64_t layer);
// Whether its queries have windows of their own, layers/{l}/attn/window.
bool has_dynamic_window(const ModelConfig& config, int64_t layer);

// The options with their defaults resolved: "exp" for method 5.5 without a form; P.
std::string form_of(const ModelConfig& config);
int64_t score_positions_of(const ModelConfig& config);

// Throws InputError naming `where` and the key for anything missing, mistyped or inconsistent
// (extents < 1, Hkv not dividing H, odd Dh, an unknown rope_scaling kind, an unknown method or an
// option that the method does not take). Every key is used, known not to change the mathematics, or
// refused; which, of which classes: golden/contract/config_keys.h. Under "assay" stand the method,
// its options and those of attention by the names they have here (attention_bias: "none", "qkv" or
// "all"), and for GPT-2 norm, num_key_value_heads (default: n_head) and head_dim (default:
// n_embd/n_head), which its own config has no keys for.
ModelConfig parse_config(const std::string& json_text, const std::string& where);

// Canonical JSON: sorted keys; every key of the model, of the options those that apply.
// to_json(parse_config(to_json(c))) == to_json(c), and configs of one meaning give one text, which
// config_hash rests on.
std::string to_json(const ModelConfig& config);

// The checks of parse_config on a config made in code.
void validate(const ModelConfig& config, const std::string& where);

// tiny (CI: D=32, L=3), small (D=128, L=4), author (the configuration the methods were trained
// with). With the GPT-2 block: as many key/value heads as heads, F = 4 D, a tied head and 1024
// positions, as GPT-2 has them.
ModelConfig preset(const std::string& name, BlockKind block = BlockKind::llama);
std::vector<std::string> preset_names();

// A model family: the block, and the options of the Llama block that its class has. "llama",
// "mistral" (a window: of 16 positions, so that a short run has positions outside), "qwen2" (biases
// of q, k and v), "qwen3" (norms of q and k), "gpt2".
std::vector<std::string> family_names();
ModelConfig family_preset(const std::string& preset_name, const std::string& family,
                          const std::string& where);

// "none" | "qkv" | "all". Parsing throws InputError "where: attention_bias: ..".
std::string attention_bias_name(AttentionBias bias);
AttentionBias parse_attention_bias(const std::string& name, const std::string& where);

// "fixed" | "centred" | "dynamic"
std::string window_kind_name(WindowKind kind);
WindowKind parse_window_kind(const std::string& name, const std::string& where);

// "llama" | "gpt2". Parsing throws InputError "--block mamba: no such block; ..".
std::string block_name(BlockKind block);
BlockKind parse_block_name(const std::string& name, const std::string& where);

}  // namespace assay::golden
