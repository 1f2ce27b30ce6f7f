// length: f(x[:n]) is f(x)[:n]. Whatever depends on the number of positions shows: a constant made
// of it, a mean over all of them, positions counted from the end. Another shape may have sums in
// another order, so that bits are not due: what is due is that no more than rounding changes.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "verify/decoders/batches.h"
#include "verify/decoders/common.h"
#include "verify/decoders/detect.h"
#include "verify/subjects/refusal.h"

namespace assay::verify {
namespace {

// How far a tensor's positions are off at one length.
struct AtLength {
  int64_t positions = 0;
  double most = 0, median = 0;
  int64_t row = 0, position = 0;  // of the largest difference
};

// By tensor, longest first.
using Found = std::vector<std::vector<AtLength>>;

void add_length(const Decoder& decoder, const std::vector<Apart>& apart, int64_t positions,
                Found& found) {
  std::vector<double> sizes;
  for (std::size_t i = 0; i < apart.size(); ++i) {
    const Apart& at = apart[i];
    const bool is_first = i == 0 || apart[i - 1].index != at.index;
    if (is_first) {
      found[at.index].push_back({.positions = positions});
      sizes.clear();
    }
    AtLength& here = found[at.index].back();
    const double size = decoder.beyond_noise(at);
    sizes.push_back(size);
    if (size > here.most) here = {positions, size, here.median, at.row, at.position};
    const bool is_last = i + 1 == apart.size() || apart[i + 1].index != at.index;
    if (!is_last) continue;
    std::nth_element(sizes.begin(), sizes.begin() + static_cast<int64_t>(sizes.size() / 2),
                     sizes.end());
    here.median = sizes[sizes.size() / 2];
  }
}

// A difference that grows as the sequence gets shorter, at most positions: no rounding does that.
bool grows(const std::vector<AtLength>& lengths, double allowed) {
  constexpr double kGrowth = 4;
  if (lengths.size() < 4) return false;
  const AtLength &longest = lengths.front(), &middle = lengths[lengths.size() / 2];
  const AtLength& short_one = lengths[lengths.size() - 2];
  return middle.median > allowed && short_one.median > allowed &&
         std::max(middle.median, short_one.median) > kGrowth * longest.median;
}

// What the lengths say of one tensor. A large difference at few of them is told apart: rounding
// that tips a choice, of an expert or of the largest, brings one as well as a leak does.
struct Told {
  Size size = Size::rounding;
  AtLength worst = {};
  bool at_few = false;
};

Told told_of(const Rounding& rounding, const std::vector<AtLength>& lengths) {
  Told told;
  std::size_t large = 0;
  for (const AtLength& at : lengths) {
    if (at.most > told.worst.most) told.worst = at;
    told.size = std::max(told.size, size_of(rounding, at.most));
    large += size_of(rounding, at.most) == Size::large;
  }
  told.at_few = told.size == Size::large && 2 * large < lengths.size();
  if (told.at_few) told.size = Size::doubtful;
  if (told.size == Size::doubtful && grows(lengths, rounding.whole)) told.size = Size::large;
  return told;
}

// What is beyond every rounding at one length: of the type that was said, else of bf16.
double limit_at_one_length(const Rounding& rounding) {
  return rounding.is_declared ? rounding.whole : declared_rounding(golden::Precision::bf16).whole;
}

// The largest difference of a tensor between a batch and its first positions, both run again.
double run_again(const Decoder& decoder, std::size_t index, const Batch& batch, int64_t positions) {
  Experiment& experiment = decoder.experiment;
  const Recording whole = experiment.record(batch);
  const Recording part = experiment.record(part_of(batch, 0, positions));
  const std::size_t i = index_of(whole, experiment.base().name(index));
  double most = 0;
  for (const Apart& at : positions_apart(whole, part, same_rows(batch.batch))) {
    if (at.index == i) most = std::max(most, decoder.beyond_noise(at));
  }
  return most;
}

// Whether a difference at few lengths comes back: on the same tokens each time, and, where 16 bits
// may tip a choice, on other tokens, for which the choice would be another.
bool comes_back(const Decoder& decoder, std::size_t index, const AtLength& worst) {
  constexpr int kConfirmations = 3;
  Experiment& experiment = decoder.experiment;
  const double limit = limit_at_one_length(decoder.rounding);
  const auto is_far = [&](const Batch& batch) {
    return run_again(decoder, index, batch, worst.positions) > limit;
  };
  for (int i = 0; i < kConfirmations; ++i) {
    if (!is_far(experiment.batch())) return false;
  }
  const golden::Precision precision = decoder.rounding.precision;
  const bool is_fine = precision == golden::Precision::fp32 || precision == golden::Precision::fp64;
  if (is_fine && decoder.rounding.is_certain) return true;
  for (int i = 0; i < kConfirmations; ++i) {
    const std::string stream = fmt::format("length/{}", i);
    if (!is_far(experiment.with_tokens(0, experiment.batch().positions, stream))) return false;
  }
  return true;
}

// Why a difference at few lengths accuses nobody.
std::string few_text(const Rounding& rounding) {
  return fmt::format(
      "more than rounding in {} brings ({:.2g} of the largest value), but at few lengths, and it "
      "does not come back each time or is no more than {:.2g}: a choice that rounding tips, of an "
      "expert or of a largest value, may bring it",
      rounding_text(rounding), rounding.whole, limit_at_one_length(rounding));
}

std::string length_text(const std::string& name, const AtLength& worst, int64_t n,
                        const Rounding& rounding) {
  return fmt::format(
      "{} depends on the length: position {} is off by {:.2g} of its size when {} of {} positions "
      "are run; rounding in {} brings at most {:.2g}",
      name, worst.position, worst.most, worst.positions, n, rounding_text(rounding),
      rounding.whole);
}

}  // namespace

Check detect_length(const Decoder& decoder) {
  Experiment& experiment = decoder.experiment;
  const Recording& base = experiment.base();
  const int64_t n = experiment.batch().positions;
  Check check{.name = "length", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  const std::set<int64_t, std::greater<>> lengths{n - 1, n - 2, 3 * n / 4,  n / 2,
                                                  n / 4, 3,     int64_t{2}, 1};
  Found found(base.tensors());
  std::vector<int64_t> shown;
  for (const int64_t positions : lengths) {
    if (positions < 1 || positions >= n) continue;
    try {
      const Recording part = experiment.record(part_of(experiment.batch(), 0, positions));
      add_length(decoder, positions_apart(base, part, same_rows(experiment.batch().batch)),
                 positions, found);
      shown.push_back(positions);
    } catch (const SubjectRefusal& refusal) {
      check.details.push_back(
          fmt::format("not tried: {} positions: {}", positions, refusal.what()));
    }
  }
  double most = 0;
  int64_t compared = 0;
  std::string doubt;
  for (std::size_t i = 0; i < found.size(); ++i) {
    Told told = told_of(decoder.rounding, found[i]);
    most = std::max(most, told.worst.most);
    compared += !found[i].empty();
    if (told.size == Size::doubtful && told.worst.most > limit_at_one_length(decoder.rounding) &&
        comes_back(decoder, i, told.worst)) {
      told.size = Size::large;
    }
    if (told.size == Size::rounding || (told.size == Size::doubtful && !doubt.empty())) continue;
    check.status = told.size == Size::large ? Status::fail : Status::inconclusive;
    check.summary = length_text(base.name(i), told.worst, n, decoder.rounding);
    if (told.size == Size::large) return check;
    doubt = told.at_few ? few_text(decoder.rounding) : doubtful_text(decoder.rounding);
  }
  if (check.status != Status::pass) {
    check.details.push_back(doubt);
  } else if (compared == 0) {
    check.status = Status::inconclusive;
    check.summary = shown.empty() ? "no other length is taken" : "nothing to compare";
  } else {
    check.summary = fmt::format(
        "the first {} of {} positions are those of the whole: within {:.2g} of the largest value, "
        "allowed {:.2g}, the rounding of {}",
        fmt::join(shown, ", "), n, most, decoder.rounding.whole, rounding_text(decoder.rounding));
    const Rounding by_values = rounding_of(base, "");
    if (decoder.rounding.is_declared && by_values.whole < most) {
      check.details.push_back(fmt::format(
          "the values of its tensors are finer than the {} that it says: a leak of up to {:.2g} "
          "does not show here; without the word {:.2g} is allowed",
          golden::precision_name(decoder.rounding.precision), decoder.rounding.whole,
          by_values.whole));
    }
  }
  return check;
}

}  // namespace assay::verify
