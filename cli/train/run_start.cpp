#include "cli/train/run_start.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"
#include "golden/contract/strict_json.h"
#include "golden/file/files.h"

namespace assay::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

}  // namespace

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    throw InputError(fmt::format("{}: expected a folder that can be read: {}",
                                 golden::printable(folder), error.message()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

json read_object(const std::string& path, const std::string& kind) {
  const std::string text = golden::read_text(path, kind);
  return json::parse(golden::parse_strict_json(text, path, golden::kHandWritten).dump());
}

RunStart read_run_start(const std::string& folder) {
  const std::string path = folder + "/config.json";
  if (!fs::is_regular_file(path)) {
    throw InputError(
        fmt::format("--resume: {}: expected a run of 'assay train' with config.json, got none",
                    golden::printable(folder)));
  }
  const json document = read_object(path, "config.json of a run");
  if (!document.contains("assay_train") || !document.contains("options") ||
      !document.contains("model")) {
    throw InputError(path + ": expected what 'assay train' wrote, got another object");
  }
  try {
    const json& data = document.at("data");
    return {
        document.at("options").get<GivenOptions>(), document.at("model").dump(),
        document.at("parameters").get<int64_t>(),   data.at("train_rows").get<int64_t>(),
        data.value("tokens_hash", std::string()),   document.value("known_wrong", std::string())};
  } catch (const json::exception& error) {
    throw InputError(fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace assay::cli
