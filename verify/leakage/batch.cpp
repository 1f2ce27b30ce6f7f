// batch: a row stays as it is, bit for bit, when all other rows get new tokens.
#include <fmt/format.h>

#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {

Check detect_batch(Experiment& experiment) {
  const int64_t rows = experiment.batch().batch, positions = experiment.batch().positions;
  Check check{.name = "batch", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  for (int64_t kept = 0; kept < rows; ++kept) {
    const Batch other = experiment.with_tokens(0, positions, fmt::format("rows/{}", kept), kept);
    for (const Difference& difference : experiment.run(other)) {
      for (int64_t t = 0; t < positions; ++t) {
        if (difference.rows.empty() ||
            difference.rows[static_cast<std::size_t>(kept * positions + t)] == 0) {
          continue;
        }
        check.status = Status::fail;
        check.summary = fmt::format("cross-talk at {}: row {}, position {} changes with other rows",
                                    experiment.base().name(difference.index), kept, t);
        return check;
      }
    }
  }
  check.summary = fmt::format("each of {} rows unchanged bit for bit when the others change", rows);
  return check;
}

}  // namespace assay::verify
