// state: A, B, A through one instance. Another batch B is what an instance whose first run it is
// makes of it, and A comes out of either instance afterwards as it came out at first, bit for bit.
// B has other tokens, another mask, other labels or another shape: what was kept of A, or of the
// first call alone, shows in one of them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>

#include "verify/leakage/experiment.h"
#include "verify/subjects/refusal.h"
#include "verify/verdict.h"

namespace assay::verify {
namespace {

struct Variant {
  const char* what;
  Batch batch;
  bool where_refused = false;  // only if it refuses one of those before
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

// What differs, in as few fresh instances as may be: a program may take long to start.
std::vector<Variant> few_variants(Experiment& experiment) {
  const Batch& batch = experiment.batch();
  Batch other = experiment.with_tokens(0, batch.positions, "state");
  other.labels = with_fewer_labels(experiment.with_labels("state")).labels;
  std::vector<Variant> list{{"other tokens, labels and mask", with_mask(other)}};
  const Capabilities can = experiment.subject().capabilities();
  if (can.fixed_batch + can.fixed_length == 0) list.push_back({"another shape", with_shape(batch)});
  list.push_back({"other tokens and labels", other, true});
  return list;
}

std::vector<Variant> variants(Experiment& experiment) {
  const Batch& batch = experiment.batch();
  std::vector<Variant> list;
  if (experiment.ground().config == nullptr) return few_variants(experiment);
  list.push_back({"other tokens", experiment.with_tokens(0, batch.positions, "state")});
  if (batch.positions > 1) list.push_back({"another mask", with_mask(batch)});
  list.push_back({"other labels", with_fewer_labels(experiment.with_labels("state"))});
  if (experiment.subject().capabilities().fixed_length == 0) {
    list.push_back({"another shape", with_shape(batch)});
  }
  return list;
}

// What is kept from call to call: the tensor that shows it most, and how.
struct Kept {
  Change change = unchanged;
  std::string what = {};
};

// The first tensor of those that changed most, with what it tells.
void look_at(const std::vector<Difference>& differences, const Recording& base, Kept& kept,
             const std::function<std::string(const std::string& name)>& tell) {
  for (const Difference& difference : differences) {
    if (difference.any <= kept.change) continue;
    kept = {difference.any, tell(base.name(difference.index))};
  }
}

Kept kept_with(Experiment& experiment, const Variant& variant, bool& is_fresh) {
  const Batch& a = experiment.batch();
  const auto fresh = experiment.fresh();
  is_fresh = fresh != nullptr;
  Kept kept;
  if (!is_fresh) {
    experiment.record(variant.batch);
  } else {
    const Recording due = experiment.record(*fresh, variant.batch);
    look_at(experiment.compare(due, experiment.subject(), variant.batch), due, kept,
            [&](const std::string& name) {
              return fmt::format("{} of a batch with {} is not that of a fresh instance", name,
                                 variant.what);
            });
    if (kept.change == clear) return kept;
    look_at(experiment.compare(experiment.base(), *fresh, a), experiment.base(), kept,
            [&](const std::string& name) {
              return fmt::format("{} depends on the instance's first call, a batch with {}", name,
                                 variant.what);
            });
    if (kept.change == clear) return kept;
  }
  look_at(experiment.run(a), experiment.base(), kept, [&](const std::string& name) {
    return fmt::format("{} changes after a call on a batch with {}", name, variant.what);
  });
  return kept;
}

}  // namespace

Check detect_state(Experiment& experiment) {
  Check check{.name = "state", .status = Status::pass, .summary = "", .details = {}, .seconds = 0};
  std::vector<std::string> shown;
  bool is_fresh = false;
  for (const Variant& variant : variants(experiment)) {
    if (variant.where_refused && check.details.empty()) continue;
    Kept kept;
    try {
      kept = kept_with(experiment, variant, is_fresh);
    } catch (const SubjectRefusal& refusal) {
      check.details.push_back(
          fmt::format("not tried: a batch with {}: {}", variant.what, refusal.what()));
      continue;
    }
    if (kept.change == clear) {
      check.status = Status::fail;
      check.summary = "state survives a call: " + kept.what;
      return check;
    }
    if (kept.change == faint && check.status == Status::pass) {
      check.status = Status::inconclusive;
      check.summary = kept.what + ", by no more than rounding";
    }
    shown.push_back(variant.what);
  }
  if (check.status != Status::pass) return check;
  if (shown.empty()) {
    check.status = Status::inconclusive;
    check.summary = "the subject takes no second batch";
    return check;
  }
  check.summary =
      fmt::format("A, B, A agree {}, B with {}",
                  experiment.is_noisy() ? "but for noise" : "bit for bit", fmt::join(shown, ", "));
  if (is_fresh) {
    check.summary += "; B as a fresh instance has it";
  } else {
    check.status = Status::inconclusive;
    check.details.push_back(
        "no second instance can be made of this subject: what it keeps of its first call does not "
        "show");
  }
  return check;
}

}  // namespace assay::verify
