#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <memory>

#include "cli/command.h"
#include "golden/contract/error.h"
#include "golden/exchange/export.h"
#include "golden/file/output.h"

namespace assay::cli {
namespace {

using golden::Element;

struct Options {
  std::string golden_path;
  std::string to;
  std::string pattern;
  std::string dtype;
  bool round = false;
  bool force = false;
};

Element parse_element(const std::string& text) {
  static const std::map<std::string, Element> kNames{{"fp64", Element::f64},
                                                     {"fp32", Element::f32},
                                                     {"bf16", Element::bf16},
                                                     {"fp16", Element::f16}};
  const auto found = kNames.find(text);
  if (found != kNames.end()) return found->second;
  throw InputError("--dtype " + text + ": expected fp64, fp32, bf16 or fp16");
}

bool is_file_name(const std::string& to) {
  return to.ends_with(".npz") || to.ends_with(".safetensors");
}

// The leading "/" of each pattern of a list.
std::string without_slashes(std::string patterns) {
  if (patterns.starts_with('/')) patterns.erase(0, 1);
  for (std::size_t at; (at = patterns.find(",/")) != std::string::npos;) patterns.erase(at + 1, 1);
  return patterns;
}

void run_export(const Options& options) {
  golden::ExportOptions wanted{
      .pattern = options.pattern,
      .element = std::nullopt,
      .rounding = options.round ? golden::Rounding::nearest : golden::Rounding::refuse,
      .force = options.force};
  wanted.pattern = without_slashes(options.pattern);
  if (!options.dtype.empty()) wanted.element = parse_element(options.dtype);
  if (!is_file_name(options.to) && !options.pattern.empty()) {
    throw InputError(fmt::format(
        "--to {}: a folder holds a whole model: expected no --only, or the name of a .npz or "
        ".safetensors file",
        options.to));
  }
  for (const std::string name : {"", "/config.json", "/model.safetensors"}) {
    golden::require_apart({{"--to", options.to + name}}, {options.golden_path});
  }
  const golden::GoldenReader reader(options.golden_path);
  if (is_file_name(options.to)) {
    const int64_t count = golden::export_tensors(reader, options.to, wanted);
    fmt::print("{}: {} tensors of {}\n", options.to, count, options.golden_path);
    return;
  }
  const int64_t count = golden::export_model(reader, options.to, wanted);
  fmt::print("{}: config.json and model.safetensors with {} weights of {}\n", options.to, count,
             options.golden_path);
  for (const std::string& other : golden::not_in_transformers(reader.header().config)) {
    fmt::print(
        "  no class of transformers computes this model: {}; config.json says it under \"assay\"\n",
        other);
  }
}

}  // namespace

void add_export(CLI::App& app, Outcome&) {
  CLI::App* command = app.add_subcommand(
      "export", "write a golden file's model or tensors for tools that do not read HDF5");
  auto options = std::make_shared<Options>();
  command->add_option("golden", options->golden_path, "golden file")->required();
  command
      ->add_option("--to", options->to,
                   "folder: config.json and model.safetensors, as Hugging Face loads them; or a "
                   "file ending in .npz or .safetensors: the tensors under their paths")
      ->required();
  add_only_option(*command, options->pattern, "tensors to write, e.g. 'forward/layers/3/*'");
  command->add_option("--dtype", options->dtype,
                      "fp64, fp32, bf16 or fp16 for floats; default: a folder fp64, a file as the "
                      "golden file");
  command->add_flag("--round", options->round,
                    "round what --dtype does not hold exactly, instead of an error");
  command->add_flag("--force", options->force, "replace existing files");
  command->callback([options] { run_export(*options); });
}

}  // namespace assay::cli
