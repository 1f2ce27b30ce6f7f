#include "cli/training/own_run.h"

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

// The one input that is such a folder; "" where there is none, or several.
std::string own_folder(const OverfitOptions& options) {
  std::string found;
  for (const std::string& input : options.inputs) {
    const fs::path config = fs::path(input) / "config.json";
    if (!fs::is_directory(input) || !fs::is_regular_file(config)) continue;
    const std::string text = golden::read_text(config.string(), "config.json of a run");
    if (text.find("\"assay_train\"") == std::string::npos) continue;
    if (!found.empty()) return "";
    found = input;
  }
  return found;
}

// A masked language model sees both sides of a token: the law of what comes next is no bound.
bool predicts_next(const nlohmann::json& model) {
  if (!model.contains("assay")) return true;
  const nlohmann::json& own = model.at("assay");
  if (own.value("method", "") != "pt") return true;
  return own.contains("pt") && own.at("pt").value("output", "mlm") == "causal";
}

}  // namespace

OverfitOptions with_own_run(OverfitOptions options) {
  const std::string folder = own_folder(options);
  if (folder.empty()) return options;
  const std::string path = (fs::path(folder) / "config.json").string();
  const std::string text = golden::read_text(path, "config.json of a run");
  const auto parsed = golden::parse_strict_json(text, path, golden::kHandWritten);
  const nlohmann::json run = nlohmann::json::parse(parsed.dump());
  try {
    const nlohmann::json &data = run.at("data"), &training = run.at("training");
    const nlohmann::json& model = run.at("model");
    const auto give = [](std::optional<int64_t>& option, int64_t value) {
      if (!option) option = value;
    };
    const int64_t positions = data.at("positions").get<int64_t>();
    const int64_t rows = data.at("train_rows").get<int64_t>();
    int64_t rows_a_step = 0, drawn = 0;  // drawn: of the whole run
    if (__builtin_mul_overflow(training.at("batch").get<int64_t>(),
                               training.at("accumulate").get<int64_t>(), &rows_a_step) ||
        __builtin_mul_overflow(training.at("steps").get<int64_t>(), rows_a_step, &drawn)) {
      throw InputError(path + ": training: expected a run that can be counted, got more rows");
    }
    give(options.vocab, model.at("vocab_size").get<int64_t>());
    give(options.parameters, run.at("parameters").get<int64_t>());
    const bool next = predicts_next(model);
    const int64_t predicted = next ? positions - 1 : positions;  // of a row
    give(options.train_size, std::min(rows, drawn) * predicted);
    if (data.contains("val_rows")) {
      int64_t val_tokens = 0;
      if (!__builtin_mul_overflow(data.at("val_rows").get<int64_t>(), predicted, &val_tokens)) {
        give(options.val_size, val_tokens);
      }
    }
    give(options.positions, positions);
    give(options.tokens_per_step, rows_a_step * predicted);
    if (!options.bits) options.bits = training.at("precision") == "fp64" ? 64 : 32;
    // Weights that the run started from may have seen the same rows.
    const bool all_new = drawn <= rows && !run.at("options").contains("--weights");
    options.one_epoch = options.one_epoch || (next && all_new);
    if (options.oracle.empty() && data.at("is_law").get<bool>() && next) {
      options.oracle = data.at("source").get<std::string>();
    }
  } catch (const nlohmann::json::exception& error) {
    throw InputError(fmt::format("{}: expected what 'assay train' wrote: {}", path, error.what()));
  }
  return options;
}

}  // namespace assay::cli
