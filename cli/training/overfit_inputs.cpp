#include "cli/training/overfit_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "cli/training/known_oracle.h"
#include "cli/training/own_run.h"
#include "datasets/known/law.h"
#include "golden/contract/error.h"
#include "golden/contract/strict_json.h"
#include "golden/file/files.h"
#include "verify/training/readers/arrays.h"
#include "verify/training/readers/event_files.h"
#include "verify/training/readers/text_logs.h"
#include "verify/training/readers/token_sets.h"

namespace assay::cli {
namespace {

namespace training = verify::training;
namespace fs = std::filesystem;

// The files of a run's folder that are read: a curve, and per-token losses.
std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> found;
  for (const char* curve : {"trainer_state.json", "curves.jsonl", "metrics.jsonl", "log.jsonl",
                            "curves.csv", "metrics.csv", "main.log", "log.txt"}) {
    const fs::path path = fs::path(folder) / curve;
    if (!fs::is_regular_file(path)) continue;
    found.push_back(path.string());
    break;
  }
  for (const char* losses : {"losses.h5", "losses.npz", "losses.safetensors", "tokens.h5",
                             "tokens.npz", "data.h5", "data.npz"}) {
    const fs::path path = fs::path(folder) / losses;
    if (fs::is_regular_file(path)) found.push_back(path.string());
  }
  if (!found.empty()) return found;
  if (!training::event_files_in(folder).empty()) return {folder};
  // The latest checkpoint of Hugging Face has the whole history.
  int64_t latest = -1;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    int64_t step = 0;
    if (!name.starts_with("checkpoint-") ||
        !fs::is_regular_file(entry.path() / "trainer_state.json")) {
      continue;
    }
    const auto [at, error] = std::from_chars(name.data() + 11, name.data() + name.size(), step);
    if (error != std::errc() || at != name.data() + name.size() || step <= latest) continue;
    latest = step;
    found = {(entry.path() / "trainer_state.json").string()};
  }
  if (found.empty()) {
    throw InputError(
        folder +
        ": expected a run's folder with trainer_state.json, curves.jsonl, curves.csv, "
        "main.log, losses.h5 or event files of TensorBoard, got none of them; name the file "
        "itself");
  }
  return found;
}

std::vector<std::string> input_files(const OverfitOptions& options) {
  std::vector<std::string> files;
  for (const std::string& input : options.inputs) {
    if (fs::is_directory(input)) {
      const std::vector<std::string> inside = files_in(input);
      files.insert(files.end(), inside.begin(), inside.end());
    } else {
      files.push_back(input);
    }
  }
  return files;
}

bool is_number(const std::string& text, double& value) {
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && at == text.data() + text.size();
}

class Gatherer {
 public:
  explicit Gatherer(const OverfitOptions& options) : options_(with_own_run(options)) {}

  training::Evidence gather() {
    take_options();
    for (const std::string& path : input_files(options_)) read(path, -1);
    for (std::size_t s = 0; s < 3; ++s) {
      const auto set = static_cast<int>(s);
      if (!options_.losses[s].empty()) read_set(options_.losses[s], set, "losses");
      if (!options_.data[s].empty() && !is_read_live(options_.data[s])) {
        read_set(options_.data[s], set, "data");
      }
    }
    double rate = 0;
    const bool law = !options_.oracle.empty() && datasets::names_law(options_.oracle);
    const bool number = !options_.oracle.empty() && is_number(options_.oracle, rate);
    if (!options_.oracle.empty() && !law && !number) read_oracle(options_.oracle);
    if (options_.live.probe) run_live();
    put_together();
    if (law) give_law(options_.oracle, sets_, evidence_);
    if (number) take_rate(rate);
    finish_sets(sets_, evidence_);
    for (std::size_t s = 0; s < 3; ++s) evidence_.sets[s] = std::move(sets_[s].set);
    if (!options_.leak_report.empty()) read_leak_report();
    return std::move(evidence_);
  }

 private:
  void take_options() {
    evidence_.oracle = options_.oracle;
    evidence_.vocab = options_.vocab;
    evidence_.parameters = options_.parameters;
    evidence_.train_tokens = options_.train_size;
    evidence_.val_tokens = options_.val_size;
    evidence_.checkpoints = options_.checkpoints;
    evidence_.positions = options_.positions;
    evidence_.tokens_per_step = options_.tokens_per_step;
    evidence_.one_epoch = options_.one_epoch;
    evidence_.bits = options_.bits.value_or(16);
    evidence_.alpha = options_.alpha;
  }

  void take_rate(double rate) {
    if (!std::isfinite(rate) || rate < 0) {
      throw InputError(
          fmt::format("--oracle {}: expected nats a token, 0 or above", options_.oracle));
    }
    evidence_.rate = training::OracleRate{rate * scale(), 0, false};
  }

  double scale() const { return options_.unit == "bits" ? std::log(2.0) : 1.0; }

  void read(const std::string& path, int set) {
    if (fs::is_directory(path) || !training::is_array_file(path)) {
      return take_curve(training::read_curve(path), path);
    }
    std::vector<training::NamedArray> arrays = training::read_arrays(path);
    bool any = false;
    if (const auto curve = training::curve_in_arrays(path, arrays)) {
      take_curve(*curve, path);
      any = true;
    }
    const bool known = std::any_of(arrays.begin(), arrays.end(), [](const auto& array) {
      return training::array_named(array.name).what != training::Array::none;
    });
    if (!known && !any) {
      throw InputError(path +
                       ": expected per-token losses (fresh/losses, val/log_probs, ..) or a "
                       "curve, got no array of such a name; docs/training.md lists them");
    }
    training::sort_arrays(path, std::move(arrays), set, arrays_);
  }

  // Tokens beside an oracle are those of the set, or the oracle is not of this set.
  void require_own_tokens(const std::string& path, const training::NamedArray& array) const {
    const training::ArrayName name = training::array_named(array.name);
    if (name.what != training::Array::tokens || name.set < 0) return;
    const auto& own = arrays_[static_cast<std::size_t>(name.set)].tokens;
    if (!own || own->shape != array.tensor.shape) return;
    const auto [theirs, ours] =
        std::mismatch(array.tensor.values.begin(), array.tensor.values.end(), own->values.begin());
    if (theirs == array.tensor.values.end()) return;
    throw InputError(fmt::format(
        "--oracle {}: {}: expected the tokens of the set, {} at {} in order, got {}: the oracle "
        "is of other tokens",
        path, golden::printable(array.name), *ours, ours - own->values.begin(), *theirs));
  }

  // Log probabilities by set; tokens beside them count where a set has none.
  void read_oracle(const std::string& path) {
    if (!training::is_array_file(path)) {
      throw InputError(
          fmt::format("--oracle {}: expected a source ('assay data --list' lists them), nats a "
                      "token, or a file "
                      "of arrays with oracle_log_probs",
                      golden::printable(path)));
    }
    std::vector<training::NamedArray> arrays = training::read_arrays(path);
    bool any = false;
    for (const training::NamedArray& array : arrays) require_own_tokens(path, array);
    std::erase_if(arrays, [&](const training::NamedArray& array) {
      const training::ArrayName name = training::array_named(array.name);
      const bool oracle = name.what == training::Array::oracle ||
                          name.what == training::Array::oracle_log_probs ||
                          name.what == training::Array::oracle_losses;
      any = any || oracle;
      const bool wanted = name.what == training::Array::tokens && name.set >= 0 &&
                          !arrays_[static_cast<std::size_t>(name.set)].tokens;
      return !oracle && !wanted;
    });
    if (!any) {
      throw InputError(
          fmt::format("--oracle {}: expected oracle_log_probs by set "
                      "(fresh/oracle_log_probs), got none",
                      path));
    }
    training::sort_arrays(path, std::move(arrays), -1, arrays_);
  }

  // A file that was named for a set: an array without a name of its own is what the option says.
  void read_set(const std::string& path, int set, const std::string& what) {
    const std::string option =
        fmt::format("--{}-{} {}", training::kSetNames[static_cast<std::size_t>(set)], what, path);
    if (!training::is_array_file(path)) {
      throw InputError(option + ": expected .npz, .npy, .safetensors or HDF5, got another file");
    }
    std::vector<training::NamedArray> arrays = training::read_arrays(path);
    const bool known = std::any_of(arrays.begin(), arrays.end(), [](const auto& array) {
      return training::array_named(array.name).what != training::Array::none;
    });
    if (!known && arrays.size() == 1 && path.ends_with(".npy")) {
      arrays.front().name = what == "losses" ? "losses" : "tokens";
    } else if (!known) {
      throw InputError(option + ": expected an array named " +
                       (what == "losses" ? "losses or log_probs" : "tokens") + ", got none");
    }
    training::sort_arrays(path, std::move(arrays), set, arrays_);
  }

  void take_curve(training::Curve curve, const std::string& path) {
    if (options_.unit == "bits") {
      for (training::Series* series : {&curve.train, &curve.val, &curve.fresh}) {
        for (double& value : series->values) value *= scale();
        series->half_step *= scale();
      }
    }
    training::Curve& own = evidence_.curve;
    const auto merge = [&](training::Series& mine, const training::Series& other,
                           const char* what) {
      if (other.empty()) return;
      if (!mine.empty()) {
        throw InputError(fmt::format("{}: a second curve of the {}: give one", path, what));
      }
      mine = other;
    };
    merge(own.train, curve.train, "training loss");
    merge(own.val, curve.val, "val loss");
    merge(own.fresh, curve.fresh, "fresh loss");
    merge(own.grad_norm, curve.grad_norm, "gradient norm");
    merge(own.loss_scale, curve.loss_scale, "loss scale");
    if (own.epoch.empty()) own.epoch = curve.epoch;
    own.layers.insert(curve.layers.begin(), curve.layers.end());
    own.format += (own.format.empty() ? "" : ", ") + curve.format;
    own.may_be_scaled = own.may_be_scaled || curve.may_be_scaled;
    own.notes.insert(own.notes.end(), curve.notes.begin(), curve.notes.end());
  }

  // Tokens that no array file holds are read when the model has said how long its rows are.
  bool is_read_live(const std::string& path) const {
    return options_.live.probe && !training::is_array_file(path);
  }

  // A live model's losses take the place of those that files have. A fresh set is drawn where its
  // source is known and nobody named one.
  void run_live() {
    LiveOptions options = options_.live;
    const bool law = !options_.oracle.empty() && datasets::names_law(options_.oracle);
    for (std::size_t s = 0; s < 3; ++s) {
      if (!options_.data[s].empty() && is_read_live(options_.data[s])) {
        options.data[s] = options_.data[s];
      }
      training::SetArrays& arrays = arrays_[s];
      if (arrays.losses || arrays.log_probs || arrays.logits) {
        evidence_.curve.notes.push_back(arrays.path + ": its losses are not looked at: the model " +
                                        "was run");
      }
      const bool redrawn = s == training::kFresh && law && options_.data[s].empty();
      training::SetArrays tokens;
      tokens.path = arrays.path;
      if (!redrawn) tokens.tokens = std::move(arrays.tokens);
      arrays = std::move(tokens);
    }
    live_ = run_live_sets(options, options_.oracle, evidence_.vocab, arrays_);
    evidence_.labels = live_.labels;
    evidence_.curve.notes.insert(evidence_.curve.notes.end(), live_.notes.begin(),
                                 live_.notes.end());
  }

  void put_together() {
    bool any = !evidence_.curve.empty();
    for (std::size_t s = 0; s < 3; ++s) {
      if (arrays_[s].path.empty()) continue;
      sets_[s] = training::align(arrays_[s], static_cast<training::Set>(s),
                                 options_.live.probe ? 1.0 : scale());
      any = any || !sets_[s].set.empty();
      if (!options_.live.probe) continue;
      sets_[s].set.logits = std::move(live_.sets[s].logits);
      sets_[s].set.reported_loss = live_.sets[s].reported_loss;
    }
    if (any) return;
    throw InputError(
        "assay overfit: expected a curve or per-token losses, got only tokens; the "
        "losses are of your model: --fresh-losses");
  }

  void read_leak_report() {
    const std::string& path = options_.leak_report;
    const std::string text = golden::read_text(path, "a report of 'assay leak --json'");
    const auto json = golden::parse_strict_json(text, path, golden::kHandWritten);
    if (!json.contains("assay_report") || !json.contains("checks") || !json.contains("verdict")) {
      throw InputError(path + ": expected a report of 'assay leak --json', got another object");
    }
    const auto text_of = [](const auto& object, const char* key) {
      return object.contains(key) && object.at(key).is_string()
                 ? object.at(key).template get<std::string>()
                 : std::string();
    };
    training::StructuralLeak leak{path, ""};
    for (const auto& check : json.at("checks")) {
      if (!check.is_object() || text_of(check, "status") != "fail" || !leak.finding.empty()) {
        continue;
      }
      leak.finding = text_of(check, "name") + ": " + text_of(check, "summary");
    }
    const bool passed = text_of(json, "verdict") == "pass";
    if (passed || !leak.finding.empty()) evidence_.structural = leak;
  }

  const OverfitOptions options_;
  training::Evidence evidence_;
  std::array<training::SetArrays, 3> arrays_;
  std::array<training::AlignedSet, 3> sets_;
  LiveSets live_;
};

}  // namespace

std::vector<std::string> overfit_files(const OverfitOptions& options) {
  std::vector<std::string> files = input_files(options);
  for (const auto* list : {&options.losses, &options.data}) {
    for (const std::string& path : *list) {
      if (!path.empty()) files.push_back(path);
    }
  }
  if (!options.leak_report.empty()) files.push_back(options.leak_report);
  double unused = 0;
  if (!options.oracle.empty() && !datasets::names_law(options.oracle) &&
      !is_number(options.oracle, unused)) {
    files.push_back(options.oracle);
  }
  return files;
}

training::Evidence gather_evidence(const OverfitOptions& options) {
  return Gatherer(options).gather();
}

}  // namespace assay::cli
