#include "tests/faults/fuzz/seeds.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "datasets/tokens.h"
#include "golden/contract/config.h"
#include "golden/contract/weights.h"
#include "golden/exchange/npy.h"
#include "golden/exchange/npz.h"
#include "golden/exchange/safetensors.h"
#include "golden/file/manifest.h"
#include "tests/faults/fuzz/targets.h"
#include "tests/golden/sample.h"

namespace assay::fuzz {
namespace {

using golden::Element;
using golden::ExchangeTensor;

constexpr char kLlama[] = R"({"model_type": "llama", "architectures": ["LlamaForCausalLM"],
 "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2,
 "num_key_value_heads": 1, "head_dim": 2, "vocab_size": 5, "max_position_embeddings": 8,
 "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false, "hidden_act": "silu",
 "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
 "high_freq_factor": 4.0, "original_max_position_embeddings": 4}})";
constexpr char kGpt2[] = R"({"model_type": "gpt2", "n_embd": 4, "n_inner": 8, "n_layer": 1,
 "n_head": 2, "vocab_size": 5, "n_positions": 8, "layer_norm_epsilon": 1e-5,
 "activation_function": "gelu_new", "assay": {"method": "1", "residual": "keep"}})";

std::vector<double> counted(const golden::Shape& shape) {
  std::vector<double> values(static_cast<std::size_t>(golden::element_count(shape)));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i) / 4;
  return values;
}

// The bytes of a file that a writer of tensors makes of these.
template <class Write>
std::string written(const std::string& name, const std::vector<ExchangeTensor>& tensors,
                    Write&& write) {
  const std::string path = file_of(name, "");
  write(path, [&](const std::string& wanted) {
    const auto found = std::find_if(tensors.begin(), tensors.end(),
                                    [&](const ExchangeTensor& t) { return t.name == wanted; });
    return counted(found->shape);
  });
  return golden::sample::bytes_of(path);
}

std::string safetensors_of(const std::vector<ExchangeTensor>& tensors,
                           const std::map<std::string, std::string>& metadata) {
  return written("seed.safetensors", tensors, [&](const std::string& path, const auto& fetch) {
    golden::write_safetensors(path, tensors, metadata, fetch, golden::Rounding::nearest, true);
  });
}

const std::vector<ExchangeTensor> kTensors = {{"embed", Element::f32, {1, 2, 4}},
                                              {"layers/0/output", Element::f64, {2, 4}},
                                              {"loss", Element::f32, {}}};

std::string numbers_as(std::size_t bytes_each, const std::vector<uint32_t>& numbers) {
  std::string text;
  for (const uint32_t n : numbers) text.append(reinterpret_cast<const char*>(&n), bytes_each);
  return text;
}

}  // namespace

std::vector<std::string> json_seeds() {
  return {R"({"a": [1, -2.5e3, "\u00e9\n", null, true], "b": {"c": {}}, "d": []})", kLlama};
}

std::vector<std::string> config_seeds() { return {kLlama, kGpt2}; }

std::vector<std::string> suite_seeds() {
  return {R"({"assay_suite": 1, "about": "x", "defaults": {"seed": 3, "capture": "stats",
 "precisions": ["fp32"], "left_out": ["loss"]}, "blocks": {"b": {"hidden_size": 4,
 "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 2,
 "num_key_value_heads": 1, "vocab_size": 5}}, "entries": [{"methods": ["plain", {"method": "1",
 "residual": "keep"}], "blocks": ["b"], "heads": ["mqa"], "shapes": [{"batch": 2, "positions": 5,
 "left": [0, 1], "right": [1, 0]}]}]})"};
}

std::vector<std::string> npy_seeds() {
  return {golden::npy_header_text(Element::f64, {2, 3}, "x"),
          golden::npy_header_text(Element::u8, {}, "x"),
          golden::npy_header_text(Element::i32, {7}, "x")};
}

std::vector<std::string> npz_seeds() {
  return {written("seed.npz", kTensors, [&](const std::string& path, const auto& fetch) {
    golden::write_npz(path, kTensors, fetch, golden::Rounding::nearest, true);
  })};
}

std::vector<std::string> safetensors_seeds() {
  return {safetensors_of(kTensors, {{"format", "pt"}}), safetensors_of(kTensors, {})};
}

std::vector<std::string> tokens_seeds() {
  const std::vector<uint32_t> ids = {3, 1, 4, 1, 5, 9, 2, 6};
  std::vector<uint32_t> header(256);
  header[0] = 20240520, header[1] = 1, header[2] = 8;
  const std::string npy = golden::npy_header_text(Element::i32, {8}, "x") + numbers_as(4, ids);
  const std::map<std::string, std::string> by_format = {
      {"auto", numbers_as(4, header) + numbers_as(2, ids)},
      {"text", "four"},
      {"numbers", "3 1 4 1\n5,9;2,6\n"},
      {"json", R"({"input_ids": [[3, 1, 4, 1], [5, 9, 2, 6]]})"},
      {"jsonl", "{\"tokens\": [3, 1, 4, 1]}\n[5, 9, 2, 6]\n"},
      {"uint16", numbers_as(2, ids)},
      {"uint32", numbers_as(4, ids)},
      {"npy", npy},
  };
  std::vector<std::string> seeds;
  const auto names = datasets::tokens_format_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto found = by_format.find(names[i]);
    if (found != by_format.end()) seeds.push_back(static_cast<char>(i) + found->second);
  }
  return seeds;
}

Checkpoint checkpoint() {
  std::vector<ExchangeTensor> tensors;
  nlohmann::ordered_json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", {}}};
  for (const golden::TensorInfo& weight :
       golden::weight_list(golden::parse_config(kLlama, "config.json"))) {
    tensors.push_back({weight.name, Element::f32, weight.shape});
    index["weight_map"][weight.name] = "a.safetensors";
  }
  return {kLlama, index.dump(1), safetensors_of(tensors, {{"format", "pt"}})};
}

std::vector<std::string> checkpoint_seeds() {
  const Checkpoint whole = checkpoint();
  return {'\0' + whole.config, '\1' + whole.index, '\2' + whole.shard};
}

std::vector<std::string> manifest_seeds() {
  golden::ManifestRow row;
  row.path = "/forward/embed";
  row.dtype = golden::DType::float64;
  row.shape = {1, 2, 4};
  row.role = "forward";
  row.hash = std::string(32, 'a');
  row.stored = true;
  const golden::ManifestRecord record = golden::to_record(row, 4096, "x.h5");
  return {std::string(reinterpret_cast<const char*>(&record), sizeof record)};
}

std::vector<std::string> block_seeds() {
  return {golden::block_text({8192, {4096, 392}, std::string(32, 'a'), std::string(32, 'b')})};
}

std::vector<std::string> golden_seeds() {
  const std::string path = file_of("seed.h5", "");
  golden::sample::write(path, golden::Capture::stats, true);
  return {golden::sample::bytes_of(path)};
}

std::vector<std::string> dump_seeds() {
  return {safetensors_of(kTensors, {{"schedule", "eager"}, {"angles", "float32"}, {"seed", "1"}})};
}

}  // namespace assay::fuzz
