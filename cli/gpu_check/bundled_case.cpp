#include "cli/gpu_check/bundled_case.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/contract/strict_json.h"
#include "golden/contract/test_bundle.h"

namespace assay::gpu_check {
namespace {

using golden::Tensor;
using nlohmann::json;

std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw InputError(path +
                     ": cannot be read: expected a file of a bundle; scripts/gpu-bundle.sh "
                     "makes one");
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

json parse(const std::string& text, const std::string& where) {
  return golden::parse_strict_json(text, where, golden::kHandWritten);
}

template <class T>
double element_at(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return static_cast<double>(value);
}

double bf16_at(const char* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

struct Element {
  const char* name;
  std::size_t bytes;
  double (*read)(const char* bytes);
};

constexpr Element kElements[] = {{"F64", 8, element_at<double>},
                                 {"F32", 4, element_at<float>},
                                 {"BF16", 2, bf16_at},
                                 {"I32", 4, element_at<int32_t>},
                                 {"U8", 1, element_at<uint8_t>}};

Tensor read_tensor(std::string_view data, const json& entry, const std::string& where) {
  const auto type = entry.at("dtype").get<std::string>();
  const auto begin = entry.at("data_offsets").at(0).get<std::size_t>();
  const auto end = entry.at("data_offsets").at(1).get<std::size_t>();
  Tensor tensor{entry.at("shape").get<golden::Shape>(), {}};
  const auto count = static_cast<std::size_t>(golden::element_count(tensor.shape));
  for (const Element& element : kElements) {
    if (type != element.name) continue;
    if (begin > end || end > data.size() || end - begin != count * element.bytes) {
      throw InputError(fmt::format("{}: expected {} bytes within {}, got [{},{}]", where,
                                   count * element.bytes, data.size(), begin, end));
    }
    tensor.values.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      tensor.values.push_back(element.read(data.data() + begin + i * element.bytes));
    }
    return tensor;
  }
  throw InputError(fmt::format("{}: expected F64, F32, BF16, I32 or U8, got {}", where, type));
}

// The header of a .safetensors file (golden/exchange/safetensors.h), and what follows it.
std::pair<json, std::string_view> split(const std::string& bytes, const std::string& path) {
  uint64_t length = 0;
  if (bytes.size() >= sizeof length) std::memcpy(&length, bytes.data(), sizeof length);
  if (length == 0 || length > bytes.size() - sizeof length) {
    throw InputError(fmt::format("{}: expected a .safetensors file, got {} bytes of header in {}",
                                 path, length, bytes.size()));
  }
  return {parse(bytes.substr(sizeof length, length), path),
          std::string_view(bytes).substr(sizeof length + length)};
}

template <class T>
std::vector<T> input(const BundledCase& bundled, const std::string& name) {
  const Tensor* tensor = bundled.find("inputs/" + name);
  if (tensor == nullptr || tensor->shape.size() != 2) {
    throw InputError(fmt::format("{}: inputs/{}: expected [B,T], got {}", bundled.name, name,
                                 tensor == nullptr ? "none" : golden::shape_text(tensor->shape)));
  }
  return {tensor->values.begin(), tensor->values.end()};
}

}  // namespace

const Tensor* BundledCase::find(const std::string& tensor) const {
  const auto found = tensors.find(tensor);
  return found == tensors.end() ? nullptr : &found->second;
}

bool BundledCase::has_gradients() const {
  const auto first = tensors.lower_bound("gradient/");
  return first != tensors.end() && first->first.starts_with("gradient/");
}

void BundledWeights::read(const std::string& name, std::span<double> values) const {
  const Tensor* weight = bundled_.find("weights/" + name);
  if (weight == nullptr || weight->values.size() != values.size()) {
    throw InputError(fmt::format("{}: weights/{}: expected {} values, got {}", bundled_.name, name,
                                 values.size(), weight == nullptr ? 0 : weight->values.size()));
  }
  std::copy(weight->values.begin(), weight->values.end(), values.begin());
}

std::vector<BundleEntry> read_manifest(const std::string& folder, const std::string& pattern) {
  const std::string path = folder + "/" + golden::bundle::kManifest;
  const json manifest = parse(read_bytes(path), path);
  if (!manifest.is_object() || manifest.value("assay_bundle", 0) != golden::bundle::kVersion) {
    throw InputError(
        fmt::format("{}: expected \"assay_bundle\": {}; scripts/gpu-bundle.sh makes it", path,
                    golden::bundle::kVersion));
  }
  std::vector<BundleEntry> entries;
  try {
    for (const json& c : manifest.at("cases")) {
      BundleEntry entry{c.at("name"), c.at("file"), c.at("hash")};
      if (golden::matches(pattern, entry.name)) entries.push_back(std::move(entry));
    }
  } catch (const json::exception& error) {
    throw InputError(path + ": " + error.what());
  }
  if (entries.empty()) {
    throw InputError(fmt::format("{}: expected a case that matches '{}', got none", path, pattern));
  }
  return entries;
}

BundledCase read_case(const std::string& folder, const BundleEntry& entry) {
  const std::string path = folder + "/" + entry.file;
  const std::string bytes = read_bytes(path);
  if (const std::string hash = golden::bundle::file_hash(bytes); hash != entry.hash) {
    throw InputError(fmt::format("{}: damaged: expected hash {}, got {}; copy the bundle again",
                                 path, entry.hash, hash));
  }
  BundledCase bundled{.name = entry.name};
  try {
    const auto [header, data] = split(bytes, path);
    const json& metadata = header.at("__metadata__");
    bundled.config = golden::parse_config(metadata.at("config"), path);
    bundled.narrow_probs = metadata.at("narrow_probs");
    for (const auto& [name, place] : header.items()) {
      if (name != "__metadata__") {
        bundled.tensors[name] = read_tensor(data, place, path + ": " + name);
      }
    }
  } catch (const json::exception& error) {
    throw InputError(path + ": " + error.what());
  }
  verify::Batch& inputs = bundled.inputs;
  inputs.tokens = input<int32_t>(bundled, "tokens");
  inputs.labels = input<int32_t>(bundled, "labels");
  inputs.attention_mask = input<uint8_t>(bundled, "attention_mask");
  inputs.batch = bundled.find("inputs/tokens")->shape[0];
  inputs.positions = bundled.find("inputs/tokens")->shape[1];
  return bundled;
}

}  // namespace assay::gpu_check
