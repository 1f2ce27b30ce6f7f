#include "golden/exchange/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>

#include "golden/contract/error.h"
#include "golden/contract/strict_json.h"
#include "golden/exchange/safetensors.h"
#include "golden/file/files.h"

namespace assay::golden {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kWhole[] = "model.safetensors", kIndex[] = "model.safetensors.index.json";
constexpr std::size_t kMostJsonBytes = 100'000'000;
constexpr std::size_t kMostListed = 12;     // problems in one message
constexpr std::size_t kCompared = 1 << 20;  // elements at once
constexpr std::array<const char*, 2> kPrefixes{"model.", "transformer."};

// Tensors of checkpoints that are no weights: nothing is lost without them.
struct Harmless {
  const char* pattern;
  const char* what;
};
constexpr std::array<Harmless, 3> kHarmless{{
    {"*rotary_emb.inv_freq", "frequencies that follow from rope_theta"},
    {"*.attn.bias", "GPT-2's causal mask"},
    {"*.attn.masked_bias", "what GPT-2 writes into masked scores"},
}};

bool is_harmless(const std::string& name) {
  return std::any_of(kHarmless.begin(), kHarmless.end(),
                     [&](const Harmless& row) { return matches(row.pattern, name); });
}

json read_json(const std::string& path, const JsonLimits& limits) {
  return parse_strict_json(read_text(path, "a JSON file", kMostJsonBytes), path, limits);
}

bool looks_like_hub_name(const std::string& folder) {
  const auto slash = std::count(folder.begin(), folder.end(), '/');
  return slash == 1 && folder.front() != '/' && folder.front() != '.' && folder.back() != '/';
}

// Folders and names that are no checkpoint of a whole model, but known.
void require_model_folder(const std::string& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    const bool file = fs::exists(folder, ignored);
    throw InputError(fmt::format("{}: expected a folder with config.json and {}, got {}{}", folder,
                                 kWhole, file ? "a file" : "nothing",
                                 file ? "; name the folder that it is in"
                                 : looks_like_hub_name(folder)
                                     ? "; a model of the Hugging Face hub has to be fetched first: "
                                       "hf download " +
                                           folder + " --local-dir FOLDER"
                                     : ""));
  }
  const auto has = [&](const char* name) { return fs::exists(folder + "/" + name, ignored); };
  if (has("adapter_config.json") && !has(kWhole) && !has(kIndex)) {
    throw InputError(fmt::format(
        "{}: expected a whole model, got a LoRA adapter (adapter_config.json); merge it "
        "into its base model with merge_and_unload() and save that",
        folder));
  }
}

// "; pytorch_model.bin is ..", of what else the folder has.
std::string other_weights(const std::string& folder) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    for (const char* ending : {".bin", ".pt", ".pth", ".ckpt", ".gguf"}) {
      if (name.ends_with(ending)) {
        return fmt::format(" ({} is of a format that is not read)", printable(name));
      }
    }
  }
  return "";
}

// What the names of surplus tensors tell; "" for nothing.
struct Sign {
  const char* part;  // of a name, at its beginning if `first`
  bool first;
  const char* what;
};
constexpr std::array<Sign, 9> kSigns{{
    {"_orig_mod.", true, "names begin with _orig_mod., of torch.compile: save model._orig_mod"},
    {"module.", true, "names begin with module., of DistributedDataParallel: save model.module"},
    {"base_model.model.", true, "names of a PEFT model: save merge_and_unload() of it"},
    {".lora_A.", false, "LoRA matrices: merge them with merge_and_unload() and save that"},
    {".base_layer.", false, "names of a PEFT model: save merge_and_unload() of it"},
    {".qweight", false, "quantised weights (GPTQ, AWQ): save the model dequantised"},
    {".absmax", false, "quantised weights (bitsandbytes): save model.dequantize()"},
    {".weight_scale", false, "quantised weights (fp8): save the model in bfloat16"},
    {".weight_format", false, "quantised weights (bitsandbytes): save the model in bfloat16"},
}};

std::string told_by(const std::string& name) {
  for (const Sign& sign : kSigns) {
    const std::size_t at = name.find(sign.part);
    if (sign.first ? at == 0 : at != std::string::npos) return sign.what;
  }
  return "";
}

// One tensor of the folder.
struct Place {
  const SafetensorsReader* file = nullptr;
  const SafetensorsEntry* entry = nullptr;
};

}  // namespace

ModelConfig read_config(const std::string& path) {
  return parse_config(read_text(path, "a JSON file", kMostJsonBytes), path);
}

ModelConfig read_checkpoint_config(const std::string& folder) {
  require_model_folder(folder);
  return read_config(folder + "/config.json");
}

struct CheckpointWeights::Impl {
  Impl(std::string folder_path, const ModelConfig& model);

  std::string folder;
  std::vector<TensorInfo> list;
  std::map<std::string, SafetensorsReader> files;  // by name in the folder
  std::map<std::string, Place> weights;            // by our name
  std::vector<std::string> problems;
  std::string told;  // by a name among them

  void open_files();
  void open_shards();
  std::map<std::string, Place> tensors() const;
  void assign();
  void check_surplus(const std::string& name, const Place& place, bool tied);
  bool same_values(const Place& a, const Place& b) const;
  void report() const;
};

CheckpointWeights::Impl::Impl(std::string folder_path, const ModelConfig& model)
    : folder(std::move(folder_path)), list(weight_list(model)) {
  open_files();
  std::map<std::string, Place> left = tensors();
  for (const TensorInfo& weight : list) {
    auto found = left.find(weight.name);
    for (const std::string prefix : kPrefixes) {
      if (found == left.end() && weight.name.starts_with(prefix)) {
        found = left.find(weight.name.substr(prefix.size()));
      }
    }
    if (found == left.end()) {
      problems.push_back(
          fmt::format("{}: expected {}, got nothing", weight.name, shape_text(weight.shape)));
      continue;
    }
    const SafetensorsEntry& entry = *found->second.entry;
    if (entry.shape != weight.shape || !is_float(entry.element)) {
      problems.push_back(fmt::format("{}: expected {} of floats, got {} {}", weight.name,
                                     shape_text(weight.shape), element_name(entry.element),
                                     shape_text(entry.shape)));
    }
    weights[weight.name] = found->second;
    left.erase(found);
  }
  for (const auto& [name, place] : left) check_surplus(name, place, model.tie_word_embeddings);
  report();
}

void CheckpointWeights::Impl::open_files() {
  require_model_folder(folder);
  const auto has = [&](const char* name) {  // also a link that leads nowhere, which is told later
    return fs::symlink_status(folder + "/" + name).type() != fs::file_type::not_found;
  };
  const bool whole = has(kWhole), index = has(kIndex);
  if (whole && index) {
    throw InputError(
        fmt::format("{}: expected {} or {}, got both; keep one of them", folder, kWhole, kIndex));
  }
  if (!whole && !index) {
    throw InputError(fmt::format(
        "{}: expected {} or {}, got neither{}; save the model with safe_serialization=True", folder,
        kWhole, kIndex, other_weights(folder)));
  }
  if (whole) {
    files.emplace(kWhole, SafetensorsReader(folder + "/" + kWhole));
  } else {
    open_shards();
  }
}

// The index and the shards say the same of each tensor's place.
void CheckpointWeights::Impl::open_shards() {
  const std::string path = folder + "/" + kIndex;
  const json index = read_json(path, {.depth = 8, .in_list = 1 << 20});
  const auto is_text = [](const json& x) { return x.is_string(); };
  if (!index.contains("weight_map") || !index["weight_map"].is_object() ||
      !std::all_of(index["weight_map"].begin(), index["weight_map"].end(), is_text)) {
    throw InputError(path + ": expected a table 'weight_map' of file names, got something else");
  }
  const auto map = index["weight_map"].get<std::map<std::string, std::string>>();
  for (const auto& [name, file] : map) {
    if (!file.ends_with(".safetensors") || file.find_first_of("/\\") != std::string::npos) {
      throw InputError(
          fmt::format("{}: {}: expected the name of a .safetensors file in the same folder, got {}",
                      path, printable(name), printable(file)));
    }
    if (!files.contains(file)) files.emplace(file, SafetensorsReader(folder + "/" + file));
    if (files.at(file).find(name) == nullptr) {
      problems.push_back(fmt::format("{}: expected in {} as the index says, got nothing there",
                                     printable(name), file));
    }
  }
  for (const auto& [file, reader] : files) {
    for (const SafetensorsEntry& entry : reader.entries()) {
      const auto place = map.find(entry.name);
      if (place != map.end() && place->second == file) continue;
      problems.push_back(fmt::format("{}: expected in {} as the index says, got it in {}",
                                     printable(entry.name),
                                     place == map.end() ? "no file" : place->second, file));
    }
  }
  report();
}

std::map<std::string, Place> CheckpointWeights::Impl::tensors() const {
  std::map<std::string, Place> all;
  for (const auto& [name, reader] : files) {
    for (const SafetensorsEntry& entry : reader.entries()) all[entry.name] = {&reader, &entry};
  }
  return all;
}

void CheckpointWeights::Impl::check_surplus(const std::string& name, const Place& place,
                                            bool tied) {
  if (is_harmless(name)) return;
  if (told.empty()) told = told_by(name);
  const SafetensorsEntry& entry = *place.entry;
  std::string why = "nothing of this name";
  if (tied && name == "lm_head.weight") {
    const auto embedding = weights.find(list.front().name);
    if (embedding != weights.end() && same_values(place, embedding->second)) return;
    why = "the embedding's values, which it is tied to";
  }
  problems.push_back(fmt::format("{}: expected {}, got {} {}", printable(name), why,
                                 element_name(entry.element), shape_text(entry.shape)));
}

bool CheckpointWeights::Impl::same_values(const Place& a, const Place& b) const {
  if (a.entry->shape != b.entry->shape) return false;
  const auto count = static_cast<uint64_t>(element_count(a.entry->shape));
  std::vector<double> mine(kCompared), theirs(kCompared);
  for (uint64_t at = 0; at < count; at += kCompared) {
    const std::size_t piece = std::min<uint64_t>(kCompared, count - at);
    a.file->read(*a.entry, {mine.data(), piece}, at);
    b.file->read(*b.entry, {theirs.data(), piece}, at);
    if (!std::equal(mine.begin(), mine.begin() + static_cast<int64_t>(piece), theirs.begin())) {
      return false;
    }
  }
  return true;
}

void CheckpointWeights::Impl::report() const {
  if (problems.empty()) return;
  std::string text =
      fmt::format("{}: {} tensors are not what or where they should be:", folder, problems.size());
  for (std::size_t i = 0; i < std::min(problems.size(), kMostListed); ++i) {
    text += "\n  " + problems[i];
  }
  if (problems.size() > kMostListed) {
    text += fmt::format("\n  and {} more", problems.size() - kMostListed);
  }
  if (!told.empty()) text += "\n  " + told;
  throw InputError(text);
}

CheckpointWeights::CheckpointWeights(const std::string& folder, const ModelConfig& config)
    : impl_(std::make_unique<Impl>(folder, config)) {}

CheckpointWeights::~CheckpointWeights() = default;

void CheckpointWeights::read(const std::string& name, std::span<double> out) const {
  const auto found = impl_->weights.find(name);
  if (found == impl_->weights.end()) {
    throw InputError(fmt::format("{}: {}: the checkpoint has no such weight", impl_->folder, name));
  }
  const SafetensorsEntry& entry = *found->second.entry;
  if (element_count(entry.shape) != static_cast<int64_t>(out.size())) {
    throw InputError(fmt::format("{}: {}: expected {} elements, got {}", impl_->folder, name,
                                 out.size(), shape_text(entry.shape)));
  }
  found->second.file->read(entry, out);
}

std::string CheckpointWeights::contents() const {
  json list = json::array();
  for (const auto& [name, reader] : impl_->files) {
    list.push_back({{"file", name},
                    {"bytes", fs::file_size(reader.path())},
                    {"xxh3_128", reader.file_hash()}});
  }
  return list.dump();
}

}  // namespace assay::golden
