// What is read of the folder of a training run (run_folder.h) before it is one that goes on.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/train/options.h"

namespace assay::cli {

// What a run was started as.
struct RunStart {
  GivenOptions options;
  std::string config;  // golden::to_json
  int64_t parameters = 0, train_rows = 0;
  std::string tokens_hash;  // as TrainSource
  std::string known_wrong;  // as TrainRunOptions
};

// What stands in a folder, in ascending order; nothing where there is none. Throws InputError for
// one that cannot be read.
std::vector<std::string> names_in(const std::string& folder);

// The object of a JSON file. Throws InputError for anything else; kind: "config.json of a run".
nlohmann::json read_object(const std::string& path, const std::string& kind);

// Throws InputError where there is no run, or no readable one.
RunStart read_run_start(const std::string& folder);

}  // namespace assay::cli
