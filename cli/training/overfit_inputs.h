// What a user gives `assay overfit`, as evidence.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "cli/training/live_sets.h"
#include "verify/training/evidence.h"

namespace assay::cli {

struct OverfitOptions {
  std::vector<std::string> inputs;
  std::array<std::string, 3> losses, data;  // by set: --train-losses, --train-data, ..
  std::string oracle, unit = "nats", leak_report;
  std::optional<int64_t> vocab, parameters, train_size, val_size, checkpoints, positions,
      tokens_per_step;
  bool one_epoch = false;
  std::optional<double> bits;  // of a parameter; empty: 16
  double alpha = 1e-6;
  LiveOptions live;
};

// Every file that is read, those of folders among them.
std::vector<std::string> overfit_files(const OverfitOptions& options);

// Throws InputError for what cannot be read or put together.
verify::training::Evidence gather_evidence(const OverfitOptions& options);

}  // namespace assay::cli
