// labels: other labels change the loss and nothing else.
#include <fmt/format.h>

#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {

Check detect_labels(Experiment& experiment) {
  Check check{.name = "labels", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  for (const Difference& difference : experiment.run(experiment.with_labels("labels"))) {
    const std::string& name = experiment.base().name(difference.index);
    if (!difference.any || name == "loss") continue;
    check.status = Status::fail;
    check.summary = fmt::format("{} changes with the labels", name);
    return check;
  }
  check.summary = "other labels leave everything but the loss alone";
  return check;
}

}  // namespace assay::verify
