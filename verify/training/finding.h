// What one statistic found, and what all of them come to.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "verify/training/code_length.h"
#include "verify/training/evidence.h"
#include "verify/training/offsets.h"
#include "verify/training/statistics.h"

namespace assay::verify::training {

enum class State { quiet, fired, noted, not_run };

std::string state_name(State state);  // "not run"

struct Finding {
  std::string name;  // "gap"
  State state = State::not_run;
  std::string measured;  // what came out, with its interval; or why it did not run
  std::string limit;     // where it fires
  std::vector<std::string> details;
  std::string supply;  // what would make it run; "" if it ran
};

// In the order of the table of docs/training.md.
enum class Verdict {
  insufficient,
  leak_structural,
  leak_labels,
  shift_error,
  leak_behavioural,
  eval_contamination,
  diverging,
  degenerate,
  overfit,
  leak_suspected,
  underfit,
  healthy,
};

std::string verdict_name(Verdict verdict);  // "EVAL CONTAMINATION"

// 0 HEALTHY; 3 INSUFFICIENT and LEAK SUSPECTED, which are not decided; 1 every other.
int verdict_exit_code(Verdict verdict);

struct Flag {
  Verdict verdict;
  std::string reason;
};

struct Judgement {
  Verdict verdict = Verdict::insufficient;
  std::string reason;       // one line: the statistic that decided, with its numbers
  std::vector<Flag> flags;  // what matched later in the table
  std::vector<std::string> notes;
  std::vector<std::string> supply;  // what would decide more
  std::vector<Finding> findings;
  // For pictures and machines.
  std::array<CodeLength, 3> code;             // by Set
  std::array<std::optional<Mean>, 3> excess;  // loss - oracle, by Set
  std::array<std::optional<Mean>, 3> loss;    // by Set
  std::optional<Mean> gap;
  std::optional<OffsetProfile> offsets;
};

}  // namespace assay::verify::training
