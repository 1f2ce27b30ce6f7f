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

// What the lengths say of one tensor.
Size verdict_of(const Rounding& rounding, const std::vector<AtLength>& lengths, AtLength& worst) {
  std::size_t large = 0;
  Size size = Size::rounding;
  for (const AtLength& at : lengths) {
    if (at.most > worst.most) worst = at;
    size = std::max(size, size_of(rounding, at.most));
    large += size_of(rounding, at.most) == Size::large;
  }
  if (size == Size::large && 2 * large < lengths.size()) size = Size::doubtful;
  if (size == Size::doubtful && grows(lengths, rounding.whole)) size = Size::large;
  return size;
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
  for (std::size_t i = 0; i < found.size(); ++i) {
    AtLength worst;
    const Size size = verdict_of(decoder.rounding, found[i], worst);
    most = std::max(most, worst.most);
    compared += !found[i].empty();
    if (size == Size::rounding || (size == Size::doubtful && check.status != Status::pass))
      continue;
    check.status = size == Size::large ? Status::fail : Status::inconclusive;
    check.summary = fmt::format(
        "{} depends on the length: position {} is off by {:.2g} of its size when {} of {} "
        "positions are run",
        base.name(i), worst.position, worst.most, worst.positions, n);
    if (size == Size::large) return check;
  }
  if (check.status != Status::pass) {
    check.details.push_back(doubtful_text(decoder.rounding));
  } else if (compared == 0) {
    check.status = Status::inconclusive;
    check.summary = shown.empty() ? "no other length is taken" : "nothing to compare";
  } else {
    check.summary = fmt::format(
        "the first {} of {} positions are those of the whole: within {:.2g} of the largest value, "
        "allowed {:.2g}",
        fmt::join(shown, ", "), n, most, decoder.rounding.whole);
  }
  return check;
}

}  // namespace assay::verify
