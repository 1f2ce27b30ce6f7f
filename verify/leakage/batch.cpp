// batch: a row stays as it is, bit for bit, when all other rows get new tokens. A batch of one row
// is run with a second one, which is drawn.
#include <fmt/format.h>

#include <algorithm>

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

// The first position of row `kept` that changed most; -1 if none did.
int64_t first_changed(const Difference& difference, int64_t kept, int64_t positions) {
  if (difference.rows.empty()) return -1;
  const auto row = difference.rows.begin() + kept * positions;
  const auto most = std::max_element(row, row + positions);
  return *most == unchanged ? -1 : most - row;
}

// Which tensor says what a row sees of another one: one that tells rows apart.
bool speaks_of_rows(const Recording& recording, std::size_t tensor) {
  const Layout& layout = recording.layout(tensor);
  return layout.has_positions() && layout.has_rows();
}

// What row `kept` shows of the others' new tokens. True: nothing after it has to be looked at.
bool hears(Experiment& experiment, const Recording& base, const Batch& other, int64_t kept,
           Check& check) {
  for (const Difference& difference : experiment.compare(base, experiment.subject(), other)) {
    if (!speaks_of_rows(base, difference.index)) continue;
    const int64_t t = first_changed(difference, kept, other.positions);
    if (t < 0) continue;
    const auto cell = static_cast<std::size_t>(kept * other.positions + t);
    const bool is_faint = difference.rows[cell] == faint && experiment.ground().shape_shows;
    if (is_faint && check.status != Status::pass) continue;
    check.status = is_faint ? Status::inconclusive : Status::fail;
    check.summary = fmt::format("cross-talk at {}: row {}, position {} changes with other rows{}",
                                base.name(difference.index), kept, t,
                                is_faint ? ", by no more than rounding" : "");
    if (!is_faint) return true;
  }
  return false;
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
    if (hears(experiment, base, other, kept, check)) return check;
  }
  if (check.status != Status::pass) return check;
  bool any = false;
  for (std::size_t i = 0; i < base.tensors(); ++i) any = any || speaks_of_rows(base, i);
  if (!any) {
    check.status = Status::inconclusive;
    check.summary = "no tensor tells the rows of a batch apart";
    return check;
  }
  check.summary =
      alone ? "the row unchanged bit for bit when a second one below it changes"
            : fmt::format("each of {} rows unchanged bit for bit when the others change", rows);
  return check;
}

}  // namespace assay::verify
