// batch: a row stays as it is, bit for bit, when all other rows get new tokens. A batch of one row
// is run with a second one, which is drawn.
#include <fmt/format.h>

#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {
namespace {

// The batch twice, one below the other.
Batch doubled(Batch batch) {
  batch.batch *= 2;
  const auto twice = [](auto& values) {
    const auto once = values;
    values.insert(values.end(), once.begin(), once.end());
  };
  twice(batch.tokens);
  twice(batch.attention_mask);
  twice(batch.labels);
  return batch;
}

// The first position of row `kept` that differs; -1 if none does.
int64_t first_changed(const Difference& difference, int64_t kept, int64_t positions) {
  if (difference.rows.empty()) return -1;
  for (int64_t t = 0; t < positions; ++t) {
    if (difference.rows[static_cast<std::size_t>(kept * positions + t)] != 0) return t;
  }
  return -1;
}

}  // namespace

Check detect_batch(Experiment& experiment) {
  const Batch& given = experiment.batch();
  const bool alone = given.batch == 1;
  const Batch batch = alone ? doubled(given) : given;
  const int64_t positions = batch.positions, rows = given.batch;
  Check check{.name = "batch", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  const std::optional<Recording> pair =
      alone ? std::optional(experiment.record(batch)) : std::nullopt;
  const Recording& base = pair ? *pair : experiment.base();
  for (int64_t kept = 0; kept < rows; ++kept) {
    const Batch other =
        experiment.with_tokens(batch, 0, positions, fmt::format("rows/{}", kept), kept);
    for (const Difference& difference : experiment.compare(base, experiment.subject(), other)) {
      const int64_t t = first_changed(difference, kept, positions);
      if (t < 0) continue;
      check.status = Status::fail;
      check.summary = fmt::format("cross-talk at {}: row {}, position {} changes with other rows",
                                  base.name(difference.index), kept, t);
      return check;
    }
  }
  check.summary =
      alone ? "the row unchanged bit for bit when a second one below it changes"
            : fmt::format("each of {} rows unchanged bit for bit when the others change", rows);
  return check;
}

}  // namespace assay::verify
