// prefix: for every cut c, new tokens at c and after leave every tensor's positions before c alone.
// It also reports the pairs that detectors before it noted.
#include <fmt/format.h>

#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {
namespace {

int64_t change_each_suffix(Experiment& experiment) {
  const int64_t n = experiment.batch().positions;
  int64_t cuts = 0;
  for (int64_t cut = 1; cut < n; ++cut) {
    for (int suffix = 0; suffix < experiment.options().suffixes; ++suffix) {
      ++cuts;
      const Batch other = experiment.with_tokens(cut, n, fmt::format("suffix/{}/{}", cut, suffix));
      for (const Difference& difference : experiment.run(other)) {
        for_changed(difference, n, [&](int64_t t) {
          if (t < cut) experiment.note_leak(difference.index, t, -1);
        });
      }
    }
  }
  return cuts;
}

}  // namespace

Check detect_prefix(Experiment& experiment) {
  const int64_t cuts = change_each_suffix(experiment);
  Check check{.name = "prefix", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  if (const auto& leak = experiment.first_leak()) {
    check.status = Status::fail;
    check.summary = leak->s < 0 ? fmt::format("leak at {}: position {} changes with later tokens",
                                              leak->tensor, leak->t)
                                : fmt::format("leak at {}, first pair ({} <- {})", leak->tensor,
                                              leak->t, leak->s);
  } else if (cuts == 0) {
    check.status = Status::inconclusive;
    check.summary = "one position has no future: expected at least 2 positions";
  } else {
    const int64_t shown = experiment.batch().positions, all = experiment.options().all_positions;
    check.summary = fmt::format(
        "{} cuts x {} suffixes: the past of {} tensors unchanged bit for "
        "bit",
        shown - 1, experiment.options().suffixes, experiment.base().tensors());
    if (shown < all) {
      check.status = Status::inconclusive;
      check.summary += fmt::format(", {} of {} positions", shown, all);
      check.details = {
          fmt::format("a leak from or to position {} and later was not looked for: "
                      "--leakage-positions {} covers them",
                      shown, all)};
    }
  }
  return check;
}

}  // namespace assay::verify
