// What a replayed trace measured, in the forms it is told in.
#pragma once

#include <string>
#include <vector>

#include "cli/serving/replay.h"
#include "verify/verdict.h"

namespace assay::cli {

// Of the values, sorted, the one that as many as the share says do not exceed (nearest rank).
double percentile(const std::vector<double>& sorted, double share);

struct Latencies {
  std::string name;
  std::vector<double> seconds;  // sorted
};

// To the first token from arrival; of each further token from the one before; to the end.
std::vector<Latencies> latencies_of(const Replay& replay);

struct ServingRun {
  std::string command_line, trace_path, read_as, model, clock;
  Replay replay;
};

// 0 everything that ran ended as asked, and checks passed; 1 a check failed; 3 nothing was served,
// a request failed, or a check compared nothing.
int serving_exit_code(const Replay& replay);
verify::Status serving_status(const Replay& replay);

std::string serving_text(const ServingRun& run, bool colour);
// "assay_serving_report": the number of the format.
std::string serving_json(const ServingRun& run);
// One page that needs nothing else, with latencies, batches and the queue over time.
std::string serving_html(const ServingRun& run);

}  // namespace assay::cli
