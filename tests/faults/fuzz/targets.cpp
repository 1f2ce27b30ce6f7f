#include "tests/faults/fuzz/targets.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "datasets/tokens.h"
#include "golden/contract/config.h"
#include "golden/contract/error.h"
#include "golden/contract/precision.h"
#include "golden/contract/strict_json.h"
#include "golden/exchange/checkpoint.h"
#include "golden/exchange/npy.h"
#include "golden/exchange/npz.h"
#include "golden/exchange/safetensors.h"
#include "golden/file/golden_file.h"
#include "golden/file/manifest.h"
#include "golden/suites/suite.h"
#include "tests/faults/fuzz/seeds.h"
#include "tests/golden/sample.h"

namespace assay::fuzz {
namespace {

using golden::Reading;

const golden::sample::TemporaryFolder& folder() {
  static const golden::sample::TemporaryFolder instance;
  return instance;
}

void parse_json(const std::string& bytes) {
  golden::parse_strict_json(bytes, "x.json", golden::kHandWritten);
  golden::parse_strict_ordered_json(bytes, "x.json", golden::kHandWritten);
}

void parse_config_json(const std::string& bytes) {
  const golden::ModelConfig config = golden::parse_config(bytes, "config.json");
  golden::parse_config(golden::to_json(config), "written again");
}

void parse_suite_json(const std::string& bytes) {
  golden::parse_suite(bytes, "fuzz", "suite fuzz");
}

void parse_npy(const std::string& bytes) {
  const std::size_t header = golden::npy_header_bytes(bytes.substr(0, 12), "x.npy");
  if (header <= bytes.size()) golden::parse_npy_header(bytes.substr(0, header), "x.npy");
}

void parse_npz(const std::string& bytes) {
  const golden::NpzReader reader(file_of("x.npz", bytes), Reading::lenient);
  for (const golden::NpzEntry& entry : reader.entries()) reader.read(entry);
}

void parse_safetensors(const std::string& bytes) {
  const golden::SafetensorsReader reader(file_of("x.safetensors", bytes), Reading::lenient);
  reader.metadata("format");
  for (const golden::SafetensorsEntry& entry : reader.entries()) {
    std::vector<double> values(static_cast<std::size_t>(golden::element_count(entry.shape)));
    reader.read(entry, values);
  }
}

// The first byte says in which format.
void parse_tokens(const std::string& bytes) {
  const auto names = datasets::tokens_format_names();
  const std::size_t format = bytes.empty() ? 0 : static_cast<unsigned char>(bytes[0]);
  const std::string path = file_of("tokens", bytes.empty() ? bytes : bytes.substr(1));
  datasets::read_tokens(path, datasets::parse_tokens_format(names[format % names.size()]), 1, 4,
                        1 << 16);
}

// A folder of which the first byte says what is replaced: config.json, the index, a shard.
void parse_checkpoint(const std::string& bytes) {
  static const Checkpoint whole = checkpoint();
  Checkpoint now = whole;
  std::string* const parts[] = {&now.config, &now.index, &now.shard};
  if (!bytes.empty()) *parts[static_cast<unsigned char>(bytes[0]) % 3] = bytes.substr(1);
  const std::string config = file_of("config.json", now.config);
  file_of("model.safetensors.index.json", now.index);
  file_of("a.safetensors", now.shard);
  const std::string path = std::filesystem::path(config).parent_path();
  const golden::CheckpointWeights weights(path, golden::read_checkpoint_config(path));
  weights.contents();
}

void parse_manifest(const std::string& bytes) {
  golden::ManifestRecord record;
  std::string padded = bytes;
  padded.resize(std::max(bytes.size(), sizeof record));
  std::memcpy(&record, padded.data(), sizeof record);
  golden::raw_bytes(golden::from_record(record, "x.h5"));
}

void parse_block(const std::string& bytes) { golden::parse_block(bytes, "x.h5"); }

void parse_golden(const std::string& bytes) {
  golden::GoldenReader(file_of("x.h5", bytes)).check_all();
}

// A dump that is no HDF5, with what its attributes are parsed as.
void parse_dump(const std::string& bytes) {
  const golden::DumpReader dump(file_of("dump.safetensors", bytes), Reading::lenient);
  golden::declared_schedule("x.safetensors", golden::Precision::bf16, dump.attribute("schedule"),
                            dump.attribute("angles"));
  for (const golden::DumpEntry& entry : dump.entries()) dump.read(entry.name);
}

}  // namespace

const std::vector<Target>& targets() {
  static const std::vector<Target> all = {
      {"json", json_seeds, parse_json},
      {"config", config_seeds, parse_config_json},
      {"suite", suite_seeds, parse_suite_json},
      {"npy", npy_seeds, parse_npy},
      {"npz", npz_seeds, parse_npz},
      {"safetensors", safetensors_seeds, parse_safetensors},
      {"tokens", tokens_seeds, parse_tokens},
      {"checkpoint", checkpoint_seeds, parse_checkpoint},
      {"manifest", manifest_seeds, parse_manifest},
      {"block", block_seeds, parse_block},
      {"golden", golden_seeds, parse_golden},
      {"dump", dump_seeds, parse_dump},
  };
  return all;
}

const Target& target(std::string_view name) {
  for (const Target& one : targets()) {
    if (one.name == name) return one;
  }
  throw std::out_of_range("no target " + std::string(name));
}

bool accepts(const Target& target, const std::string& bytes) {
  try {
    target.parse(bytes);
    return true;
  } catch (const InputError&) {
    return false;
  }
}

std::string file_of(const std::string& name, const std::string& bytes) {
  golden::sample::put_bytes(folder().file(name), bytes);
  return folder().file(name);
}

}  // namespace assay::fuzz
