#include "golden/exchange/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/exchange/npz.h"
#include "golden/exchange/safetensors.h"
#include "golden/file/files.h"

namespace assay::golden {
namespace {

namespace fs = std::filesystem;

// In "architectures" where no class of transformers computes the model.
constexpr char kOtherArchitecture[] = "AssayForCausalLM";

template <class T>
std::vector<double> widened(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

std::vector<double> values_of(const GoldenReader& golden, const ManifestRow& row) {
  if (row.role == "weight") {
    std::vector<double> values(static_cast<std::size_t>(element_count(row.shape)));
    golden.read(row.path.substr(std::string("/weights/").size()), values);
    return values;
  }
  if (row.dtype == DType::int32) return widened(golden.read_int32(row.path));
  if (row.dtype == DType::uint8) return widened(golden.read_uint8(row.path));
  return golden.read_tensor(row.path).values;
}

ExchangeTensor exchanged(const ManifestRow& row, const std::string& name,
                         const std::optional<Element>& element) {
  const Element stored = element_of(row.dtype);
  return {name, is_float(stored) ? element.value_or(stored) : stored, row.shape};
}

// What torch calls the type.
std::string torch_name(Element element) {
  switch (element) {
    case Element::f64:
      return "float64";
    case Element::f32:
      return "float32";
    case Element::bf16:
      return "bfloat16";
    case Element::f16:
      return "float16";
    default:
      throw InternalError("torch_name: " + element_name(element));
  }
}

// The class of transformers that is nearest to the model; it computes it where
// not_in_transformers() is empty.
struct NearestClass {
  const char* model_type;
  const char* name;
};

NearestClass nearest_class(const ModelConfig& c) {
  if (c.block == BlockKind::gpt2) return {"gpt2", "GPT2LMHeadModel"};
  if (c.qk_norm) return {"qwen3", "Qwen3ForCausalLM"};
  if (c.attention_bias == AttentionBias::qkv) return {"qwen2", "Qwen2ForCausalLM"};
  if (c.attention_bias == AttentionBias::all) return {"llama", "LlamaForCausalLM"};
  if (c.window != 0) return {"mistral", "MistralForCausalLM"};
  return {"llama", "LlamaForCausalLM"};
}

// The window as Qwen2 and Qwen3 say it.
void say_windows_by_layer(nlohmann::json& document, const ModelConfig& c) {
  document["use_sliding_window"] = c.window != 0;
  document["sliding_window"] = c.window == 0 ? nlohmann::json() : nlohmann::json(c.window);
  document["max_window_layers"] = c.window == 0 ? c.num_hidden_layers : 0;
  document["layer_types"] = nlohmann::json::array();
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    document["layer_types"].push_back(window_of(c, l) == 0 ? "full_attention"
                                                           : "sliding_attention");
  }
}

// GPT2LMHeadModel would load such a config and compute something else.
void refuse_other_gpt2(const GoldenReader& golden) {
  const ModelConfig& c = golden.header().config;
  if (c.block != BlockKind::gpt2) return;
  if (c.norm == NormPosition::pre && c.num_key_value_heads == c.num_attention_heads &&
      c.head_dim * c.num_attention_heads == c.hidden_size) {
    return;
  }
  throw InputError(
      fmt::format("{}: GPT2LMHeadModel has no such model: expected norm pre, {} key/value heads of "
                  "size {}, got "
                  "norm {}, {} of size {}; export its tensors to a .safetensors file",
                  golden.path(), c.num_attention_heads, c.hidden_size / c.num_attention_heads,
                  c.norm == NormPosition::pre ? "pre" : "post", c.num_key_value_heads, c.head_dim));
}

}  // namespace

std::string model_config_text(const ModelConfig& config, Element element) {
  nlohmann::json document = nlohmann::json::parse(to_json(config));
  document["torch_dtype"] = torch_name(element);
  const std::vector<std::string> others = not_in_transformers(config);
  const auto [model_type, name] = nearest_class(config);
  const std::string_view type = model_type;
  document["architectures"] = {others.empty() ? name : kOtherArchitecture};
  if (!others.empty()) {
    document["assay"]["note"] =
        fmt::format("{} computes something else: {}", name, fmt::join(others, "; "));
  }
  if (type == "gpt2") return document.dump(2) + "\n";
  document["model_type"] = model_type;
  document["hidden_act"] = "silu";
  if (type == "mistral") document["sliding_window"] = config.window;
  if (type.starts_with("qwen")) say_windows_by_layer(document, config);
  if (type != "qwen2") document["attention_bias"] = config.attention_bias == AttentionBias::all;
  if (!type.starts_with("qwen")) document["mlp_bias"] = false;
  return document.dump(2) + "\n";
}

std::vector<std::string> not_in_transformers(const ModelConfig& config) {
  std::vector<std::string> others;
  if (config.method != "plain") {
    others.push_back(fmt::format("method {}, of which no class knows", config.method));
  }
  if (config.window != 0 && config.block == BlockKind::gpt2) {
    others.push_back(fmt::format("a window of {}, which GPT-2 does not have", config.window));
  }
  if (config.window_kind == WindowKind::dynamic) {
    others.push_back(fmt::format("windows of {} to {} positions, as large as scores say",
                                 config.window_min, config.window));
  }
  if (config.sink_tokens != 0) {
    others.push_back(
        fmt::format("{} positions that stay visible behind the window", config.sink_tokens));
  }
  const bool by_layer = config.qk_norm || config.attention_bias == AttentionBias::qkv;
  if (config.block == BlockKind::llama && config.window != 0 && !by_layer) {
    if (config.attention_bias == AttentionBias::all) {
      others.push_back(fmt::format("a window of {} beside biases", config.window));
    } else if (!config.full_layers.empty()) {
      others.push_back("a window in some of the layers only");
    }
  }
  if (config.qk_norm && config.attention_bias == AttentionBias::qkv) {
    others.push_back("biases of q, k and v beside their norms, and none of o");
  }
  return others;
}

int64_t export_tensors(const GoldenReader& golden, const std::string& path,
                       const ExportOptions& options) {
  std::vector<ExchangeTensor> tensors;
  for (const ManifestRow& row : golden.manifest()) {
    const std::string name = row.path.substr(1);
    if (!matches(options.pattern, name)) continue;
    tensors.push_back(exchanged(row, name, options.element));
  }
  if (tensors.empty()) {
    throw InputError(fmt::format(
        "{}: no tensor matches '{}': expected a pattern like 'forward/layers/0/*'; 'assay inspect "
        "{}' lists them",
        golden.path(), options.pattern, golden.path()));
  }
  const FetchValues fetch = [&](const std::string& name) {
    return values_of(golden, *golden.find("/" + name));
  };
  if (path.ends_with(".npz")) {
    write_npz(path, tensors, fetch, options.rounding, options.force);
  } else {
    write_safetensors(path, tensors,
                      {{"config_hash", golden.config_hash()},
                       {"seed", std::to_string(golden.header().seed)},
                       {"root_hash", golden.root_hash()}},
                      fetch, options.rounding, options.force);
  }
  return static_cast<int64_t>(tensors.size());
}

int64_t export_model(const GoldenReader& golden, const std::string& folder,
                     const ExportOptions& options) {
  const Element element = options.element.value_or(Element::f64);
  const std::vector<TensorInfo> weights = weight_list(golden.header().config);
  if (find_method(golden.header().config.method).family == Family::prob_transformer) {
    throw InputError(
        fmt::format("{}: {}: expected the weights of a LlamaForCausalLM or GPT2LMHeadModel, got "
                    "those of method {}; --to "
                    "FILE.safetensors --only 'weights/*' exports them",
                    golden.path(), weights.front().name, golden.header().config.method));
  }
  refuse_other_gpt2(golden);
  std::vector<ExchangeTensor> tensors;
  for (const TensorInfo& weight : weights) {
    if (golden.find("/weights/" + weight.name) == nullptr) {
      throw InputError(fmt::format("{}: {}: not in the golden file; a model needs all its weights",
                                   golden.path(), weight.name));
    }
    tensors.push_back({weight.name, element, weight.shape});
  }
  std::error_code failed;
  fs::create_directory(folder, failed);
  if (!fs::is_directory(folder)) {
    throw InputError(fmt::format("{}: cannot be made: {}", folder,
                                 failed ? failed.message() : "a file of this name exists"));
  }
  const FetchValues fetch = [&](const std::string& name) {
    return values_of(golden, *golden.find("/weights/" + name));
  };
  check_target(folder + "/config.json", options.force, 0);
  write_safetensors(folder + "/model.safetensors", tensors,
                    {{"format", "pt"}, {"root_hash", golden.root_hash()}}, fetch, options.rounding,
                    options.force);
  write_whole(folder + "/config.json", model_config_text(golden.header().config, element),
              options.force);
  return static_cast<int64_t>(tensors.size());
}

void write_model(const ModelConfig& config, const WeightSource& weights, Element element,
                 const std::string& folder) {
  std::vector<ExchangeTensor> tensors;
  for (const TensorInfo& weight : weight_list(config)) {
    tensors.push_back({weight.name, element, weight.shape});
  }
  const FetchValues fetch = [&](const std::string& name) {
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [&](const ExchangeTensor& t) { return t.name == name; });
    std::vector<double> values(static_cast<std::size_t>(element_count(found->shape)));
    weights.read(name, values);
    return values;
  };
  write_safetensors(folder + "/model.safetensors", tensors, {{"format", "pt"}}, fetch,
                    Rounding::nearest, false);
  write_whole(folder + "/config.json", model_config_text(config, element), false);
}

}  // namespace assay::golden
