// The folder of a training run:
//
//   config.json      model, options, source, seeds, commitment of the fresh seed, provenance
//   curves.jsonl     a row a step, and a row an evaluation
//   curves.h5        the same as arrays, with each checkpoint
//   checkpoint-N/    weights, moments and progress after step N; the latest alone is kept
//   losses.h5        at the end: per-token losses of train, val and fresh
//   result.json      at the end: the fresh seed, means, time
//
// Every file but curves.jsonl appears whole or not at all.
#pragma once

#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "cli/train/backend.h"
#include "cli/train/options.h"
#include "cli/train/rows.h"
#include "cli/train/run_start.h"

namespace assay::cli {

struct CurveRow {
  double step = 0;
  std::vector<std::pair<std::string, double>> values;
};

// Where the latest checkpoint is, and its step; "" and 0 without one.
std::pair<std::string, int64_t> latest_checkpoint(const std::string& folder);

class RunFolder {
 public:
  explicit RunFolder(std::string folder);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  // Throws InputError for a folder that holds anything, unless it is a run and `force` is set, or
  // that holds what the run starts from.
  void check(const TrainRunOptions& options) const;
  // Makes the folder, without the run that was there.
  void begin(const RunStart& start, const TrainRunOptions& options, const TrainSource& source);
  // Goes on after step `step` until `last`: rows of later steps, which were not saved, are dropped,
  // and results of an end that no longer is one.
  void resume(int64_t step, int64_t last);
  void write_config(const RunStart& start, const TrainRunOptions& options,
                    const TrainSource& source);

  void add(const CurveRow& row);
  // known_wrong: as TrainRunOptions. A checkpoint of such a form says so, and no other command
  // reads it.
  void save(const TrainBackend& backend, const golden::ModelConfig& config,
            const std::string& known_wrong, int64_t step);
  // Throws InputError for damage.
  void load(TrainBackend& backend, const std::string& checkpoint) const;

  struct SetLosses {
    std::string name;
    TrainRows rows;
    std::vector<double> losses;  // [N, T - ahead]
  };
  void write_losses(const std::vector<SetLosses>& sets, const std::string& source);
  void write_result(const std::string& json);
  const std::string& path() const { return folder_; }

 private:
  std::string file(const std::string& name) const { return folder_ + "/" + name; }
  // Throws InputError where another process trains into the folder.
  void lock();
  void open_curves();
  void write_curve_arrays() const;

  std::string folder_;
  std::vector<CurveRow> rows_;
  std::FILE* curves_ = nullptr;
  int lock_ = -1;  // the folder itself, open
};

}  // namespace assay::cli
