// Losses of a live model: a program or a library is run on train, val and fresh tokens.
#pragma once

#include <CLI/CLI.hpp>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/subjects.h"
#include "verify/training/evidence.h"
#include "verify/training/readers/arrays.h"

namespace assay::cli {

struct LiveOptions {
  bool probe = false;
  std::string subject, logits = "logits", committed;
  SubjectOptions elsewhere;
  int64_t rows = 256;                       // of each set, at most
  std::optional<int64_t> positions, batch;  // of a row; rows of a request
  std::optional<uint64_t> seed, data_seed;  // of fresh; of train and val
  std::optional<int64_t> train_rows;        // that were drawn with data_seed
  std::array<std::string, 3> data = {};     // --train-data, ..
};

// --probe, --subject, --rows, --positions, --batch, --seed, --committed, --data-seed, --train-rows,
// --logits, and the limits of a program.
void add_live_options(CLI::App& command, LiveOptions& options);

// Throws InputError for options that do not go together.
void check_live_options(const CLI::App& command, const LiveOptions& options);

struct LiveSet {
  std::optional<verify::training::Logits> logits;  // of some rows
  std::optional<double> reported_loss;             // of those rows, by the program itself
};

struct LiveSets {
  std::array<LiveSet, 3> sets;  // by Set
  std::optional<verify::training::LabelTrial> labels;
  std::vector<std::string> notes;
};

// Runs the model on the tokens of `sets`, cut to the rows and positions that are asked for, and
// puts its losses beside them. Sets without tokens are drawn from the law `oracle`: fresh from a
// seed of its own, train and val from the one that they are said to have been drawn with. Throws
// InputError for a model that fails or hands over no logits.
LiveSets run_live_sets(const LiveOptions& options, const std::string& oracle,
                       std::optional<int64_t> vocab,
                       std::array<verify::training::SetArrays, 3>& sets);

}  // namespace assay::cli
