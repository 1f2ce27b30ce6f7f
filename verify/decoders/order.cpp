// order: a row is what it is, wherever in a batch it stands and with however many others. Bits may
// change with the shape and with the place in a tile; more than rounding may not.
#include <fmt/format.h>

#include <algorithm>

#include "verify/decoders/batches.h"
#include "verify/decoders/common.h"
#include "verify/decoders/detect.h"
#include "verify/subjects/refusal.h"

namespace assay::verify {
namespace {

struct Arrangement {
  std::string what;
  std::vector<int64_t> rows;  // of the batch, in this order; -1: a row of other tokens
};

Batch arranged(const Experiment& experiment, const std::vector<int64_t>& rows) {
  const int64_t n = experiment.batch().positions;
  return part_of(experiment.batch(), rows, 0, n, experiment.with_tokens(0, n, "order"));
}

std::vector<Arrangement> arrangements(const Decoder& decoder) {
  const int64_t rows = decoder.experiment.batch().batch;
  const bool fixed = decoder.experiment.subject().capabilities().fixed_batch > 0;
  std::vector<int64_t> in_order(static_cast<std::size_t>(rows)), more;
  for (int64_t b = 0; b < rows; ++b) in_order[static_cast<std::size_t>(b)] = b;
  std::vector<Arrangement> list;
  if (rows > 1) list.push_back({"the rows in reverse order", {in_order.rbegin(), in_order.rend()}});
  if (fixed) return list;
  more.push_back(-1);
  more.insert(more.end(), in_order.begin(), in_order.end());
  list.push_back({"a row more in front", more});
  if (rows > 1) list.push_back({"the last row alone", {rows - 1}});
  return list;
}

}  // namespace

Check detect_order(const Decoder& decoder) {
  Experiment& experiment = decoder.experiment;
  const Recording& base = experiment.base();
  Check check{.name = "order", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  double most = 0;
  std::string shown;
  int64_t compared = 0;
  for (const Arrangement& arrangement : arrangements(decoder)) {
    std::vector<Apart> apart;
    try {
      Within within;
      within.rows = arrangement.rows;
      apart =
          positions_apart(base, experiment.record(arranged(experiment, arrangement.rows)), within);
    } catch (const SubjectRefusal& refusal) {
      check.details.push_back(fmt::format("not tried: {}: {}", arrangement.what, refusal.what()));
      continue;
    }
    shown += (shown.empty() ? "" : ", ") + arrangement.what;
    for (const Apart& at : apart) {
      if (!base.layout(at.index).has_rows()) continue;
      ++compared;
      const double size = decoder.beyond_noise(at);
      most = std::max(most, size);
      const Size kind = size_of(decoder.rounding, size);
      if (kind == Size::rounding || (kind == Size::doubtful && check.status != Status::pass)) {
        continue;
      }
      check.status = kind == Size::large ? Status::fail : Status::inconclusive;
      check.summary = fmt::format("{}: row {}, position {} is off by {:.2g} of its size with {}",
                                  base.name(at.index), at.row, at.position, size, arrangement.what);
      if (kind == Size::large) return check;
    }
  }
  if (check.status != Status::pass) {
    check.details.push_back(doubtful_text(decoder.rounding));
  } else if (compared == 0) {
    check.status = Status::inconclusive;
    check.summary = shown.empty() ? "no other number of rows is taken"
                                  : "no tensor tells the rows of a batch apart";
  } else {
    check.summary =
        fmt::format("the same with {}: within {:.2g} of the largest value, allowed {:.2g}", shown,
                    most, decoder.rounding.whole);
  }
  return check;
}

}  // namespace assay::verify
