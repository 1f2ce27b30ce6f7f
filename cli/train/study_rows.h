// What a study of methods found: a row a form, from the folders of its runs.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "verify/training/evidence.h"

namespace assay::cli {

struct StudyForm {
  std::string name, method;
  std::string residual, pt_output;  // "" is the method's default
  std::string known_wrong;          // as TrainRunOptions
};

// One run. What is not known is NaN or empty.
struct StudyRun {
  uint64_t seed = 0;
  double fresh = NAN, fresh_error = NAN;    // nats a token, and the standard error of this run
  double excess = NAN, excess_error = NAN;  // of fresh over the oracle
  double tokens_per_second = NAN, seconds = NAN;
  int64_t parameters = 0, peak_bytes = 0;
  std::string verdict;
  verify::training::Series val;
  std::optional<double> oracle;  // rate of the source, nats a token
  int64_t vocab = 0;
  bool is_masked = false;                       // asked for masked tokens, not for the next one
  std::vector<double> first_norms, last_norms;  // of gradients by layer: first and last step
  std::vector<double> mean_norms;               // geometric mean over the steps
};

struct StudyRow {
  StudyForm form;
  std::string problem;  // why it was not trained
  std::vector<StudyRun> runs;
};

// Of a run that is over.
StudyRun read_study_run(const std::string& folder, uint64_t seed);

// A mean with half of its 95 % interval: from the spread of the runs where there are several, else
// from the standard error of the one.
struct Interval {
  double mean = NAN, half = NAN;
};
Interval interval_of(const std::vector<double>& values, double error_of_one);

// "HEALTHY", or "HEALTHY 2, UNDERFIT 1".
std::string study_verdicts(const StudyRow& row);

// Loss and interval, parameters, time, memory, gradient norms, verdict; Markdown.
std::string study_table(const std::vector<StudyRow>& rows);
nlohmann::json study_json(const std::vector<StudyRow>& rows);

}  // namespace assay::cli
