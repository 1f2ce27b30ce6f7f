// repeat: two runs on one batch agree bit for bit. What differs from itself cannot be told from
// what differs because something else does.
#include <fmt/format.h>

#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {

Check detect_repeat(Experiment& experiment) {
  const Recording& base = experiment.base();
  Check check{.name = "repeat", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  for (const Difference& difference : experiment.run(experiment.batch())) {
    if (!difference.any) continue;
    check.status = Status::inconclusive;
    check.summary =
        fmt::format("two runs on one batch differ, first at {}", base.name(difference.index));
    check.details = {
        "either state survives a call, or sums run in varying order; bitwise detectors cannot "
        "speak of this subject"};
    return check;
  }
  check.summary =
      fmt::format("two runs on one batch agree bit for bit, {} tensors", base.tensors());
  return check;
}

}  // namespace assay::verify
