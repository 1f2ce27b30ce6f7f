// From a golden file and a subject to a report: what every command that judges shares.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/report_options.h"
#include "cli/rounded_golden.h"
#include "cli/subjects.h"
#include "golden/contract/config.h"
#include "golden/contract/precision.h"
#include "golden/contract/tensor.h"
#include "golden/contract/weights.h"
#include "golden/exchange/checkpoint.h"
#include "golden/file/golden_file.h"
#include "reference/graph/graph.h"
#include "verify/judge/decoding.h"
#include "verify/leakage/detectors.h"
#include "verify/numerics/views.h"
#include "verify/report/report.h"
#include "verify/subjects/program.h"
#include "verify/subjects/subject.h"

namespace assay::cli {

struct JudgeOptions {
  std::string golden_path;
  std::string subject = "auto";  // a spelling of the table of subjects
  golden::Precision precision = golden::Precision::fp32;
  SubjectOptions elsewhere;
  std::string pattern;                // of the checkpoints to compare; "" = all
  std::vector<std::string> left_out;  // patterns of checkpoints that are not judged
  std::vector<std::string> required;  // patterns of checkpoints that may not be missing; "all"
  bool strict = false;                // a tensor that nobody declared is a failure
  std::string checkpoint;             // folder to take weights from; "" = as the golden file says
  verify::Decoding decoding = verify::Decoding::where_it_can;
  bool modes = false;  // run in other ways too (verify/judge/modes.h)
  bool equal = false;  // judged by equality (verify/judge/equality.h), else within derived bounds
  bool leakage = false;
  verify::Begins begins = {};       // of detectors
  int64_t leakage_positions = 256;  // that detectors run on at most: the first ones of the batch
};

// The options of a subject whose tensors are of the golden file's batch.
SubjectOptions of_batch(SubjectOptions options, const golden::GoldenReader& golden);

// --require and --strict, of a subject that hands over a part.
void add_part_options(CLI::App& command, JudgeOptions& options);

// --decode and --no-decode.
void add_decode_option(CLI::App& command, JudgeOptions& options);

// --modes.
void add_modes_option(CLI::App& command, JudgeOptions& options);

// Throws InputError or NoDevice where there is nothing to judge.
verify::RunReport judge(const JudgeOptions& options);

// A golden file opened to judge by, every byte of it checked, and the checkpoint that its weights
// are from.
struct OpenGolden {
  explicit OpenGolden(const JudgeOptions& options);

  golden::GoldenReader golden;
  std::optional<golden::CheckpointWeights> checkpoint;
};

// A report that says what is judged and no verdict yet.
verify::RunReport report_on(const JudgeOptions& options, const golden::GoldenReader& golden);

// Fills the report's checks and rows. `rounded`: of the subject's storage type, or nullptr where
// that holds the weights. Returns what the subject handed over.
std::shared_ptr<const verify::Ledger> compare_numbers(
    const JudgeOptions& options, const golden::GoldenReader& golden, const RoundedGolden* rounded,
    verify::Subject& subject, const verify::WatchFree& watch, verify::RunReport& report);

// What verify and compare have in common; precision is parsed into judge.precision.
struct VerifyOptions {
  JudgeOptions judge;
  std::string precision = "fp32";
  ReportOptions report;
};

void add_judge_options(CLI::App& command, VerifyOptions& options);
// Files that it reads: no report may be written over them.
std::vector<std::string> inputs_of(const JudgeOptions& judge);
int run_verify(VerifyOptions& options, const Outcome& outcome);

// The check of a subject that failed by itself: it died, hung or said what it should not.
verify::Check failed(const verify::SubjectFailure& failure);

// For LeakOptions::reference_logits. All arguments but the last must outlive what is returned.
std::function<golden::Tensor(const verify::Batch&)> reference_logits(
    const golden::ModelConfig& config, const golden::WeightSource& weights,
    const golden::PrecisionSchedule& schedule);

// Adds to the report the structural proof of the graph and what every detector finds.
void look_for_leaks(verify::RunReport& report, const reference::Graph& graph,
                    verify::Subject& subject, const golden::ModelConfig& config,
                    const verify::Batch& batch, const verify::LeakOptions& options = {});

}  // namespace assay::cli
