// What a user says about a training run.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/model_options.h"

namespace assay::cli {

struct TrainRunOptions {
  ModelOptions model;
  std::string data, out;
  int64_t steps = 1000, accumulate = 1, warmup = 0;
  std::optional<int64_t> rows, val_rows, vocab;
  double rate = 1e-3, rate_floor = 0, weight_decay = 0, clip = 0, dropout = 0;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  std::string backend = "reference", precision, keep = "all";
  int64_t save_every = 0, eval_every = 0, stop_after = 0;  // 0: a tenth of the steps; never
  int64_t seeds = 1;                                       // of --method all: runs of each method
  bool resume = false, force = false, quiet = false;
  std::string known_wrong;  // form of known_wrong.h; no option says it
};

void add_train_run_options(CLI::App& command, TrainRunOptions& options);

// The options as they were given, by name, that make a run what it is: not those that say where it
// is written and how this part of it goes.
using GivenOptions = std::map<std::string, std::vector<std::string>>;
GivenOptions given_options(const CLI::App& command);

// The options of a run that is gone on with: `stored` are those that it was started with, `given`
// what was said now. Throws InputError where the two differ.
TrainRunOptions resumed_options(const GivenOptions& stored, const GivenOptions& given,
                                const TrainRunOptions& now);

// Throws InputError for a number or word out of range, by the option's name.
void check_train_options(const TrainRunOptions& options);

}  // namespace assay::cli
