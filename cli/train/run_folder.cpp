#include "cli/train/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/train/saved_progress.h"
#include "datasets/known/sets.h"
#include "golden/contract/error.h"
#include "golden/exchange/hdf5_writer.h"
#include "golden/exchange/safetensors.h"
#include "golden/file/files.h"
#include "golden/generate/provenance.h"
#include "verify/training/readers/text_logs.h"

namespace assay::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// config.json goes last: without it the others are no run that could be replaced.
constexpr const char* kFiles[] = {"result.json", "losses.h5", "curves.h5", "curves.jsonl",
                                  "config.json"};

constexpr uint64_t kMostCurveBytes = uint64_t{1} << 32;

// As Python writes what JSON has no word for.
std::string number_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return fmt::format("{:.17g}", value);
}

std::string line_of(const CurveRow& row) {
  std::string line = fmt::format("{{\"step\": {}", row.step);
  for (const auto& [name, value] : row.values) {
    line += fmt::format(", \"{}\": {}", name, number_text(value));
  }
  return line + "}\n";
}

// A file of HDF5 has no array and group of one name.
std::string array_name(const std::string& name) {
  const std::string prefix = "grad_norm/";
  return name.starts_with(prefix) ? "grad_norms/" + name.substr(prefix.size()) : name;
}

int64_t checkpoint_step(const std::string& name) {
  const std::string prefix = "checkpoint-";
  int64_t step = -1;
  if (!name.starts_with(prefix)) return -1;
  const char *from = name.data() + prefix.size(), *to = name.data() + name.size();
  const auto [at, error] = std::from_chars(from, to, step);
  return error == std::errc() && at == to ? step : -1;
}

// Moments of a file by the names of their weights.
class Moments : public golden::WeightSource {
 public:
  Moments(const golden::SafetensorsReader& reader, std::string prefix)
      : reader_(reader), prefix_(std::move(prefix)) {}
  void read(const std::string& name, std::span<double> out) const override {
    const golden::SafetensorsEntry* entry = reader_.find(prefix_ + name);
    if (entry == nullptr || golden::element_count(entry->shape) != std::ssize(out)) {
      throw InputError(fmt::format("{}: {}{}: expected {} values, got {}", reader_.path(), prefix_,
                                   name, out.size(),
                                   entry == nullptr ? "none" : golden::shape_text(entry->shape)));
    }
    reader_.read(*entry, out);
  }

 private:
  const golden::SafetensorsReader& reader_;
  std::string prefix_;
};

using Held = std::map<std::string, golden::Tensor>;

TrainBackend::Receive into(Held& held, const std::string& prefix) {
  return [&held, prefix](const std::string& name, const golden::TensorView& value) {
    held[prefix + name] = {value.shape, {value.values.begin(), value.values.end()}};
  };
}

void write_tensors(const std::string& path, const Held& held, golden::Element element) {
  std::vector<golden::ExchangeTensor> tensors;
  for (const auto& [name, tensor] : held) tensors.push_back({name, element, tensor.shape});
  golden::write_safetensors(
      path, tensors, {{"format", "pt"}},
      [&](const std::string& name) { return held.at(name).values; }, golden::Rounding::refuse,
      false);
}

json training_of(const TrainRunOptions& options) {
  return {{"steps", options.steps},
          {"batch", options.model.batch},
          {"accumulate", options.accumulate},
          {"positions", options.model.positions},
          {"lr", options.rate},
          {"lr_floor", options.rate_floor},
          {"warmup", options.warmup},
          {"weight_decay", options.weight_decay},
          {"clip", options.clip},
          {"dropout", options.dropout},
          {"beta1", options.beta1},
          {"beta2", options.beta2},
          {"eps", options.eps},
          {"backend", options.backend},
          {"precision", options.backend == "reference" ? "fp64"
                        : options.precision.empty()    ? "fp32"
                                                       : options.precision},
          {"keep", options.keep}};
}

}  // namespace

std::pair<std::string, int64_t> latest_checkpoint(const std::string& folder) {
  int64_t latest = -1;
  for (const std::string& name : names_in(folder)) latest = std::max(latest, checkpoint_step(name));
  if (latest < 0) return {"", 0};
  return {fmt::format("{}/checkpoint-{}", folder, latest), latest};
}

RunFolder::RunFolder(std::string folder) : folder_(std::move(folder)) {}

RunFolder::~RunFolder() {
  if (curves_ != nullptr) std::fclose(curves_);
  if (lock_ >= 0) close(lock_);
}

// Goes with the process, however it ends. A file system without locks is taken as it is.
void RunFolder::lock() {
  lock_ = open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0 || flock(lock_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  throw InputError(fmt::format(
      "--out {}: another 'assay train' is writing it: wait for its end, or name another folder",
      folder_));
}

void RunFolder::check(const TrainRunOptions& options) const {
  if (fs::exists(folder_) && !fs::is_directory(folder_)) {
    throw InputError(fmt::format("--out {}: expected a folder, got a file", folder_));
  }
  std::vector<std::string> names = names_in(folder_);
  // Left by a run that was killed while it wrote its first file.
  std::erase_if(
      names, [](const std::string& name) { return name.find(".partial-") != std::string::npos; });
  if (names.empty()) return;
  const bool is_run = fs::is_regular_file(file("config.json")) &&
                      read_object(file("config.json"), "a run").contains("assay_train");
  if (!is_run) {
    throw InputError(fmt::format(
        "--out {}: expected a new folder or a run of 'assay train', got a folder with {} in it",
        folder_, golden::printable(names.front())));
  }
  if (!options.force) {
    throw InputError(fmt::format(
        "--out {}: a run is there; --resume goes on with it, --force replaces it", folder_));
  }
  for (const std::string& name : {options.model.checkpoint, options.model.config_path}) {
    if (name.empty()) continue;
    const fs::path input = fs::weakly_canonical(name), own = fs::weakly_canonical(folder_);
    if (std::mismatch(own.begin(), own.end(), input.begin(), input.end()).first != own.end()) {
      continue;
    }
    throw InputError(
        fmt::format("--out {}: --force would remove {}, which the run starts from", folder_, name));
  }
}

void RunFolder::begin(const RunStart& start, const TrainRunOptions& options,
                      const TrainSource& source) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) {
    throw InputError(fmt::format("--out {}: cannot be made: {}", folder_, error.message()));
  }
  lock();
  for (const std::string& name : names_in(folder_)) {
    if (checkpoint_step(name) >= 0) fs::remove_all(file(name));
  }
  for (const char* name : kFiles) fs::remove(file(name));
  write_config(start, options, source);
  open_curves();
}

void RunFolder::write_config(const RunStart& start, const TrainRunOptions& options,
                             const TrainSource& source) {
  const json provenance = json::parse(golden::provenance("", ""));
  json document = {{"assay_train", 1},
                   {"model", json::parse(start.config)},
                   {"parameters", start.parameters},
                   {"options", start.options},
                   {"training", training_of(options)},
                   {"data",
                    {{"source", source.text},
                     {"is_law", source.is_law},
                     {"seed", source.seed},
                     {"positions", source.positions},
                     {"train_rows", source.train_rows},
                     {"val_rows", source.val_rows},
                     {"tokens_hash", source.tokens_hash}}},
                   {"fresh_seed_commitment", datasets::seed_commitment(fresh_seed(source.seed))},
                   {"provenance", provenance}};
  if (!options.known_wrong.empty()) document["known_wrong"] = options.known_wrong;
  golden::write_whole(file("config.json"), document.dump(2) + "\n", true);
}

void RunFolder::open_curves() {
  curves_ = std::fopen(file("curves.jsonl").c_str(), "ab");
  if (curves_ == nullptr) {
    throw InputError(
        fmt::format("{}: cannot be written: {}", file("curves.jsonl"), std::strerror(errno)));
  }
}

void RunFolder::resume(int64_t step, int64_t last) {
  lock();
  const std::string path = file("curves.jsonl");
  std::string text;
  if (fs::is_regular_file(path) && fs::file_size(path) > 0) {
    const verify::training::Log log = verify::training::jsonl_records(
        golden::read_text(path, "curves of a run", kMostCurveBytes), path);
    for (const auto& record : log.records) {
      CurveRow row;
      for (const auto& [name, value] : record.values) {
        if (name == "step") {
          row.step = value;
        } else {
          row.values.emplace_back(name, value);
        }
      }
      if (row.step > static_cast<double>(step)) continue;
      text += line_of(row);
      rows_.push_back(std::move(row));
    }
  }
  if (step > 0 && rows_.empty()) {
    throw InputError(fmt::format("{}: expected a row for each of {} steps, got none", path, step));
  }
  golden::write_whole(path, text, true);
  open_curves();
  if (step >= last) return;
  for (const char* name : {"losses.h5", "result.json"}) fs::remove(file(name));  // of other weights
}

void RunFolder::add(const CurveRow& row) {
  const std::string line = line_of(row);
  rows_.push_back(row);
  if (std::fputs(line.c_str(), curves_) < 0 || std::fflush(curves_) != 0) {
    throw InputError(file("curves.jsonl") + ": cannot be written: is the disk full?");
  }
}

// Columns of all steps; NaN where a step has no such number.
void RunFolder::write_curve_arrays() const {
  std::map<double, std::map<std::string, double>> steps;
  std::map<std::string, std::vector<double>> columns;
  for (const CurveRow& row : rows_) {
    for (const auto& [name, value] : row.values) {
      steps[row.step][array_name(name)] = value;
      columns[array_name(name)];
    }
  }
  if (steps.empty()) return;
  for (const auto& [step, values] : steps) {
    columns["step"].push_back(step);
    for (auto& [name, column] : columns) {
      if (name == "step") continue;
      const auto value = values.find(name);
      column.push_back(value == values.end() ? std::nan("") : value->second);
    }
  }
  std::vector<golden::ExchangeTensor> tensors;
  for (const auto& [name, column] : columns) {
    tensors.push_back({name, golden::Element::f64, {static_cast<int64_t>(column.size())}});
  }
  golden::write_hdf5(
      file("curves.h5"), tensors, {}, [&](const std::string& name) { return columns.at(name); },
      true);
}

void RunFolder::save(const TrainBackend& backend, const golden::ModelConfig& config,
                     const std::string& known_wrong, int64_t step) {
  const std::string name = fmt::format("checkpoint-{}", step);
  const std::string partial = file(fmt::format(".{}.partial-{}", name, getpid()));
  fs::remove_all(partial);
  fs::create_directories(partial);
  Held weights, moments;
  backend.read_weights(into(weights, ""));
  backend.read_moments(into(moments, "first/"), into(moments, "second/"));
  json model = json::parse(golden::to_json(config));
  if (!known_wrong.empty()) model["assay"]["known_wrong"] = known_wrong;
  golden::write_whole(partial + "/config.json", model.dump() + "\n", true);
  write_tensors(partial + "/model.safetensors", weights, backend.element());
  write_tensors(partial + "/moments.safetensors", moments, backend.element());
  const TrainBackend::Progress progress = backend.progress();
  const json document = {{"step", step},
                         {"steps_taken", progress.steps},
                         {"good_steps", progress.good_steps},
                         {"loss_scale", progress.loss_scale}};
  golden::write_whole(partial + "/progress.json", document.dump(2) + "\n", true);
  fs::remove_all(file(name));
  fs::rename(partial, file(name));
  golden::sync_folder(folder_, file(name));  // before the last one goes
  for (const std::string& other : names_in(folder_)) {
    const bool older = checkpoint_step(other) >= 0 && other != name;
    if (older || other.starts_with(".checkpoint-")) fs::remove_all(file(other));
  }
  write_curve_arrays();
}

void RunFolder::load(TrainBackend& backend, const std::string& checkpoint) const {
  const int64_t step = checkpoint_step(fs::path(checkpoint).filename().string());
  const TrainBackend::Progress progress = read_saved_progress(checkpoint, step);
  const golden::SafetensorsReader reader(checkpoint + "/moments.safetensors");
  backend.restore(progress, Moments(reader, "first/"), Moments(reader, "second/"));
}

void RunFolder::write_losses(const std::vector<SetLosses>& sets, const std::string& source) {
  std::vector<golden::ExchangeTensor> tensors;
  std::map<std::string, std::vector<double>> values;
  for (const SetLosses& set : sets) {
    const auto columns = static_cast<int64_t>(set.losses.size()) / set.rows.rows;
    const auto put = [&](const std::string& what, golden::Element element, int64_t width,
                         std::vector<double> array) {
      tensors.push_back({set.name + "/" + what, element, {set.rows.rows, width}});
      values[set.name + "/" + what] = std::move(array);
    };
    put("losses", golden::Element::f64, columns, set.losses);
    const bool masked = columns == set.rows.positions;
    const std::vector<int32_t>& ids = masked ? set.rows.labels : set.rows.tokens;
    put(masked ? "labels" : "tokens", golden::Element::i32, set.rows.positions,
        {ids.begin(), ids.end()});
  }
  golden::write_hdf5(
      file("losses.h5"), tensors, {{"source", source}},
      [&](const std::string& name) { return values.at(name); }, true);
}

void RunFolder::write_result(const std::string& text) {
  golden::write_whole(file("result.json"), text, true);
}

}  // namespace assay::cli
