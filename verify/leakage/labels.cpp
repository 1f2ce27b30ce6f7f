// labels: other labels change the loss and nothing else.
#include <fmt/format.h>

#include <string>

#include "verify/leakage/experiment.h"
#include "verify/leakage/loss_names.h"
#include "verify/verdict.h"

namespace assay::verify {
namespace {

// A single number of a program that nobody knows is taken for a loss.
bool is_number(const Experiment& experiment, const Difference& difference) {
  return experiment.base().tensor(difference.index).tensor.values.size() == 1;
}

}  // namespace

Check detect_labels(Experiment& experiment) {
  Check check{.name = "labels", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  for (const Difference& difference : experiment.run(experiment.with_labels("labels"))) {
    const std::string& name = experiment.base().name(difference.index);
    const bool may = experiment.ground().config != nullptr
                         ? name == "loss"
                         : tells_of_labels(name) || is_number(experiment, difference);
    if (difference.any == unchanged || may) continue;
    check.status = Status::fail;
    check.summary = fmt::format("{} changes with the labels", name);
    return check;
  }
  check.summary = "other labels leave everything but the loss alone";
  return check;
}

}  // namespace assay::verify
