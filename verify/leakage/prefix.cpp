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
        for_changed(difference, n, [&](int64_t t, Change change) {
          experiment.note(difference.index, t, cut, false, change, other);
        });
      }
    }
  }
  return cuts;
}

int64_t tensors_with_positions(const Recording& base) {
  int64_t count = 0;
  for (std::size_t i = 0; i < base.tensors(); ++i) count += base.layout(i).has_positions();
  return count;
}

std::string leak_text(const FirstLeak& leak) {
  return leak.s < 0
             ? fmt::format("leak at {}: position {} changes with later tokens", leak.tensor, leak.t)
             : fmt::format("leak at {}, first pair ({} <- {})", leak.tensor, leak.t, leak.s);
}

// Whether the last tensor that is computed comes later and has an axis as long as the tokens are:
// it would show what this one sees.
bool has_exact_behind(const Recording& base, std::size_t tensor) {
  for (std::size_t i = base.tensors(); i-- > tensor + 1;) {
    const golden::DType dtype = base.tensor(i).dtype;
    const bool counts = dtype == golden::DType::int32 || dtype == golden::DType::uint8;
    if (counts || !base.layout(i).has_positions()) continue;
    return base.layout(i).slack == 0 && base.layout(i).has_rows();
  }
  return false;
}

// What is no leak for sure, and no pass.
bool is_doubtful(const Experiment& experiment, Check& check) {
  if (const auto& faint_leak = experiment.first_faint()) {
    check.summary = fmt::format(
        "{}: position {} changes with later tokens, by no more than rounding: a leak too small to "
        "tell, or products whose shapes the tokens choose",
        faint_leak->tensor, faint_leak->t);
  } else if (const auto& shifted = experiment.first_shifted();
             shifted && !has_exact_behind(experiment.base(), shifted->index)) {
    check.summary = fmt::format(
        "{}: its axis is not as long as the tokens are, and index {} sees token {} or later: one "
        "that stands for later positions, or a leak",
        shifted->tensor, shifted->t, shifted->t + 1);
    check.details = {fmt::format("--axis '{}=AXIS:FIRST' says which position its index 0 is of",
                                 shifted->tensor)};
  } else {
    return false;
  }
  check.status = Status::inconclusive;
  return true;
}

std::string unchanged_text(const Experiment& experiment) {
  const Recording& base = experiment.base();
  const int64_t count = experiment.ground().config != nullptr ? static_cast<int64_t>(base.tensors())
                                                              : tensors_with_positions(base);
  return fmt::format("{} cuts x {} suffixes: the past of {} tensors unchanged {}",
                     experiment.batch().positions - 1, experiment.options().suffixes, count,
                     experiment.is_noisy() ? "but for noise" : "bit for bit");
}

}  // namespace

Check detect_prefix(Experiment& experiment) {
  const int64_t cuts = change_each_suffix(experiment);
  Check check{.name = "prefix", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  if (const auto& leak = experiment.first_leak()) {
    check.status = Status::fail;
    check.summary = leak_text(*leak);
  } else if (cuts == 0) {
    check.status = Status::inconclusive;
    check.summary = "one position has no future: expected at least 2 positions";
  } else if (!is_doubtful(experiment, check)) {
    const int64_t shown = experiment.batch().positions, all = experiment.options().all_positions;
    check.summary = unchanged_text(experiment);
    if (const auto& shifted = experiment.first_shifted()) {
      check.details = {fmt::format(
          "{} has an axis of another length and sees token {} at index {}: taken for later "
          "positions, for nothing behind it sees so far",
          shifted->tensor, shifted->t + 1, shifted->t)};
    }
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
