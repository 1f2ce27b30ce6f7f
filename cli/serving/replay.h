// A trace of requests replayed through the server: nobody sleeps, time is what steps take.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/serving/step_models.h"
#include "cli/serving/trace.h"
#include "cuda_impl/serving/block_budget.h"
#include "cuda_impl/serving/server.h"
#include "verify/verdict.h"

namespace assay::cli {

struct ReplayOptions {
  serving::ServerOptions server;
  int64_t capacity = 64;         // positions of a request
  StepCost cost;                 // of a step
  bool wall = false;             // steps take what they take
  serving::BlockOptions blocks;  // of cache memory; 0 blocks: each slot has its capacity
  std::optional<double> rate;    // requests a second, drawn, instead of the trace's arrivals
  double speed = 1;              // arrivals come so much faster
  int64_t shrink = 1;            // lengths of the trace are divided by it
  uint64_t seed = 1;             // of prompts and arrivals that the trace does not have
  int64_t checked = 0;           // requests that run alone too; -1: all of them
};

struct ServedRequest {
  std::string id, where;  // of the trace
  int64_t prompt_tokens = 0, new_tokens = 0;
  std::string rejected;  // why, "" if it was not
  serving::Outcome outcome;
  std::vector<double> token_times_s;
};

struct ServedStep {
  double time_s = 0;
  int64_t batch = 0, waiting = 0;
};

struct Replay {
  std::vector<ServedRequest> requests;  // in the order of the trace
  std::vector<ServedStep> steps;
  serving::Statistics statistics;
  double elapsed_s = 0;         // from the first arrival to the last end
  serving::BlockCounts blocks;  // of the cache, or of a budget; most_used 0: it has none
  std::vector<verify::Check> checks;
  int stopped_by = 0;  // a signal: what ran was cancelled, and the rest did not come

  int64_t count(serving::End end) const;
  int64_t rejected() const;
};

// Called after each step with how many requests have ended.
using ReplayProgress = std::function<void(int64_t ended)>;

Replay replay(const Trace& trace, const ServedModels& models, const ReplayOptions& options,
              const ReplayProgress& progress);

}  // namespace assay::cli
