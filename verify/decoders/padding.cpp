// padding: other tokens where attention_mask is 0, on the right and on the left, leave every real
// position as it is, bit for bit.
#include <fmt/format.h>

#include <algorithm>

#include "verify/decoders/detect.h"
#include "verify/subjects/refusal.h"

namespace assay::verify {
namespace {

struct Side {
  const char* what;
  int64_t first, last;  // of the padding
};

// The first real position that padding changed.
struct Heard {
  Change change = unchanged;
  std::size_t index = 0;
  int64_t position = 0;
};

Heard heard_of(const std::vector<Difference>& differences, const Side& side, int64_t n) {
  Heard heard;
  for (const Difference& difference : differences) {
    for_changed(difference, n, [&](int64_t t, Change change) {
      if (t >= side.first && t < side.last) return;
      if (change > heard.change) heard = {change, difference.index, t};
    });
  }
  return heard;
}

}  // namespace

Check detect_padding(const Decoder& decoder) {
  Experiment& experiment = decoder.experiment;
  const int64_t n = experiment.batch().positions, third = std::max<int64_t>(1, n / 3);
  Check check{
      .name = "padding", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  if (n < 2) {
    check.status = Status::inconclusive;
    check.summary = "one position has none beside it: expected at least 2 positions";
    return check;
  }
  for (const Side& side : {Side{"right", n - third, n}, Side{"left", 0, third}}) {
    Batch padded = experiment.batch();
    for (int64_t b = 0; b < padded.batch; ++b) {
      const auto row = padded.attention_mask.begin() + b * n;
      std::fill(row + side.first, row + side.last, uint8_t{0});
    }
    const Recording base = experiment.record(padded);
    const Batch other = experiment.with_tokens(padded, side.first, side.last, "padding");
    const Heard heard = heard_of(experiment.compare(base, experiment.subject(), other), side, n);
    if (heard.change == unchanged) continue;
    const bool is_faint = heard.change == faint && experiment.ground().shape_shows;
    check.status = is_faint ? Status::inconclusive : Status::fail;
    check.summary = fmt::format("{}: position {} changes with the tokens of padding on the {}{}",
                                base.name(heard.index), heard.position, side.what,
                                is_faint ? ", by no more than rounding" : "");
    return check;
  }
  check.summary = "tokens of padding, right and left, do not show at real positions";
  return check;
}

}  // namespace assay::verify
