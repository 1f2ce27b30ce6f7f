// Golden files for people who do not use HDF5: a folder that Hugging Face loads, .safetensors,
// .npz.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "golden/file/element.h"
#include "golden/file/golden_file.h"

namespace assay::golden {

struct ExportOptions {
  std::string pattern = "";  // of paths without the leading "/"; "" is everything
  // Of float tensors; empty: as the golden file holds them.
  std::optional<Element> element = std::nullopt;
  Rounding rounding = Rounding::refuse;
  bool force = false;  // replace existing files
};

// Writes the tensors that match, inputs and weights among them, to a .npz or .safetensors file
// under their paths ("forward/layers/0/attn/q"); returns how many. A .safetensors file says
// config_hash, seed and root_hash in its metadata. Throws InputError for a pattern that matches
// nothing and for a tensor of which the golden file has only the hash.
int64_t export_tensors(const GoldenReader& golden, const std::string& path,
                       const ExportOptions& options);

// What the classes of transformers do not compute of this model: "method 1: ..". Empty where one of
// them computes it: LlamaForCausalLM, MistralForCausalLM for a window, Qwen2ForCausalLM for biases
// of q, k and v, Qwen3ForCausalLM for norms of q and k, GPT2LMHeadModel.
std::vector<std::string> not_in_transformers(const ModelConfig& config);

// Writes config.json and model.safetensors as from_pretrained of the model's class loads them,
// float64 unless options.element says otherwise; the folder is made if need be. Where no class
// computes the model, "architectures" names none of them and "assay" has a note that says why.
// Throws InputError for a GPT-2 that transformers does not have: post-norm, grouped heads, heads of
// another size. Weights that are not in the
// golden file are obtained as GoldenReader::read does. Returns the number of weights.
int64_t export_model(const GoldenReader& golden, const std::string& folder,
                     const ExportOptions& options);

// The same files of any model, whether transformers has it or not, with weights from anywhere and
// rounded to nearest; for a program that is to load them. The folder is there.
void write_model(const ModelConfig& config, const WeightSource& weights, Element element,
                 const std::string& folder);

// The config.json alone.
std::string model_config_text(const ModelConfig& config, Element element);

}  // namespace assay::golden
