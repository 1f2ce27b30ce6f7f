// assay leak of what no golden file and no config stands behind: any program from tokens to
// tensors, and two dumps of one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/subjects.h"
#include "verify/leakage/experiment.h"
#include "verify/report/report.h"

namespace assay::cli {

struct DecoderLeakOptions {
  std::optional<int64_t> vocab_size, positions;
  std::vector<std::string> axes;  // "probs=2"
  std::optional<int> position_axis;
  std::string ignored;
  std::vector<std::string> dumps;  // "file:a.npz"
  std::string tokens_a, tokens_b;
  verify::Begins begins = {};
};

// --vocab, --positions, --axis, --position-axis, --ignore, and two dumps with --tokens-a, -b.
void add_decoder_leak_options(CLI::App& command, DecoderLeakOptions& options);

// The files that the options read from.
std::vector<std::string> decoder_leak_inputs(const DecoderLeakOptions& options);

// What of a model that the options would not use; throws InputError, naming the first option that
// was typed for nothing.
void require_no_model(const CLI::App& command, const char* instead);

// Of a program: `model` has its rows, seed and tokens.
verify::RunReport decoder_leak(const DecoderLeakOptions& options, const ModelOptions& model,
                               bool batch_is_given, const std::string& subject,
                               const SubjectOptions& elsewhere, const Outcome& outcome);

// Of two dumps.
verify::RunReport dump_pair_leak(const DecoderLeakOptions& options, const Outcome& outcome);

}  // namespace assay::cli
