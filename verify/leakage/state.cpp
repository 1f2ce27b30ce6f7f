// state: A, B, A through one instance. Another batch B is what an instance whose first run it is
// makes of it, and A comes out of either instance afterwards as it came out at first, bit for bit.
// B has other tokens, another mask, other labels or another shape: what was kept of A, or of the
// first call alone, shows in one of them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "verify/leakage/experiment.h"
#include "verify/verdict.h"

namespace assay::verify {
namespace {

struct Variant {
  const char* what;
  Batch batch;
};

// Real tokens become padding and padding becomes real at one end of each row, right and left in
// turn: a third of the positions. A row that would have no real token left stays.
Batch with_mask(Batch batch) {
  const int64_t n = batch.positions, third = std::max<int64_t>(1, n / 3);
  for (int64_t b = 0; b < batch.batch; ++b) {
    const auto row = batch.attention_mask.begin() + b * n;
    std::vector<uint8_t> changed(row, row + n);
    const auto first = changed.begin() + (b % 2 == 0 ? n - third : 0);
    for (auto real = first; real != first + third; ++real) *real = *real == 0 ? 1 : 0;
    const bool any = std::any_of(changed.begin(), changed.end(), [](uint8_t r) { return r != 0; });
    if (any) std::copy(changed.begin(), changed.end(), row);
  }
  return batch;
}

// Every other label that counts does not, the first one excepted.
Batch with_fewer_labels(Batch batch) {
  int64_t counted = 0;
  for (std::size_t i = 0; i < batch.labels.size(); ++i) {
    if (batch.labels[i] < 0 || static_cast<int64_t>(i) % batch.positions == 0) continue;
    if (counted++ % 2 == 1) batch.labels[i] = -100;
  }
  return batch;
}

// One row more, and half of the positions, all of them real.
Batch with_shape(const Batch& batch) {
  Batch other;
  other.batch = batch.batch + 1;
  other.positions = std::max<int64_t>(1, batch.positions / 2);
  for (int64_t b = 0; b < other.batch; ++b) {
    for (int64_t t = 0; t < other.positions; ++t) {
      const auto i = static_cast<std::size_t>(b % batch.batch * batch.positions + t);
      other.tokens.push_back(batch.tokens[i]);
      other.attention_mask.push_back(1);
      other.labels.push_back(batch.tokens[i]);
    }
  }
  return other;
}

std::vector<Variant> variants(Experiment& experiment) {
  const Batch& batch = experiment.batch();
  std::vector<Variant> list;
  list.push_back({"other tokens", experiment.with_tokens(0, batch.positions, "state")});
  if (batch.positions > 1) list.push_back({"another mask", with_mask(batch)});
  list.push_back({"other labels", with_fewer_labels(experiment.with_labels("state"))});
  if (experiment.subject().capabilities().fixed_length == 0) {
    list.push_back({"another shape", with_shape(batch)});
  }
  return list;
}

// Name of the first tensor that differs; "" if none does.
std::string first_of(const std::vector<Difference>& differences, const Recording& base) {
  for (const Difference& difference : differences) {
    if (difference.any) return base.name(difference.index);
  }
  return "";
}

// What one variant shows to be kept from call to call; "" if nothing is.
std::string kept_with(Experiment& experiment, const Variant& variant, bool& is_fresh) {
  const Batch& a = experiment.batch();
  const auto fresh = experiment.fresh();
  is_fresh = fresh != nullptr;
  if (!is_fresh) {
    experiment.record(variant.batch);
  } else {
    const Recording due = experiment.record(*fresh, variant.batch);
    const std::string after =
        first_of(experiment.compare(due, experiment.subject(), variant.batch), due);
    if (!after.empty()) {
      return fmt::format("{} of a batch with {} is not that of a fresh instance", after,
                         variant.what);
    }
    const std::string first =
        first_of(experiment.compare(experiment.base(), *fresh, a), experiment.base());
    if (!first.empty()) {
      return fmt::format("{} depends on the instance's first call, a batch with {}", first,
                         variant.what);
    }
  }
  const std::string again = first_of(experiment.run(a), experiment.base());
  if (again.empty()) return "";
  return fmt::format("{} changes after a call on a batch with {}", again, variant.what);
}

}  // namespace

Check detect_state(Experiment& experiment) {
  Check check{.name = "state", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  std::vector<std::string> shown;
  bool is_fresh = false;
  for (const Variant& variant : variants(experiment)) {
    const std::string kept = kept_with(experiment, variant, is_fresh);
    if (!kept.empty()) {
      check.status = Status::fail;
      check.summary = "state survives a call: " + kept;
      return check;
    }
    shown.push_back(variant.what);
  }
  check.summary = fmt::format("A, B, A agree bit for bit, B with {}", fmt::join(shown, ", "));
  if (is_fresh) {
    check.summary += "; B as a fresh instance has it";
  } else {
    check.status = Status::inconclusive;
    check.details = {
        "no second instance can be made of this subject: what it keeps of its first call does not "
        "show"};
  }
  return check;
}

}  // namespace assay::verify
