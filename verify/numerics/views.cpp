#include "verify/numerics/views.h"

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/interpreters/error.h"
#include "verify/numerics/window_doubt.h"
#include "verify/statistics/chunks.h"

namespace assay::verify {
namespace {

using reference::Array;
using reference::NodeData;

void keep_first(std::optional<Failure>& first, const std::string& name, const Comparison& seen,
                const Array& expected, const Array& candidate, std::vector<double> bound) {
  first = Failure{name,
                  seen,
                  {expected.values().begin(), expected.values().end()},
                  {candidate.values().begin(), candidate.values().end()},
                  std::move(bound)};
}

// What rounding to `storage` does to each of the values; absent where it does nothing to any.
Array narrowing_error(golden::Precision storage, const Array& values) {
  if (golden::unit_roundoff(storage) <= golden::unit_roundoff(golden::Precision::fp32)) return {};
  Array error = rounded_to(storage, values);
  bool any = false;
  for (int64_t i = 0; i < values.size(); ++i) {
    const double moved = std::fabs(error.data()[i] - values.data()[i]);
    error.data()[i] = std::isfinite(moved) ? moved : 0;
    any = any || error.data()[i] > 0;
  }
  return any ? error : Array();
}

// Expected values, the candidate's and their deviations or worst cases.
struct Compared {
  Array due, given, error;
  int64_t left_out = 0;  // elements
};

// Where `undefined` holds all agree and there is no bound.
Compared without(const std::function<bool(int64_t)>& undefined, Compared all) {
  if (!undefined) return all;
  for (Array* array : {&all.due, &all.given, &all.error}) {
    *array = Array::copy_of(array->shape(), array->values());
  }
  for (int64_t i = 0; i < all.due.size(); ++i) {
    if (!undefined(i)) continue;
    ++all.left_out;
    double& due = all.due.data()[i];
    if (std::isnan(due)) due = 0;
    all.given.data()[i] = due;
    all.error.data()[i] = std::numeric_limits<double>::infinity();
  }
  return all;
}

class FreeObserver : public reference::ErrorObserver {
 public:
  FreeObserver(const Case& file, const golden::PrecisionSchedule& schedule,
               const Tolerance& tolerance, bool all, SampledNoise* noise, Ledger& ledger,
               GoldenValues& golden, Rows& rows, const WatchFree& watch)
      : file_(file),
        schedule_(schedule),
        tolerance_(tolerance),
        all_(all),
        noise_(noise),
        ledger_(ledger),
        golden_(golden),
        rows_(rows),
        watch_(watch) {}

  // What is forced later is settled now.
  bool wants(const NodeData& node) override {
    if (!file_.declares(node.name)) return false;
    return all_ || is_handed_over(node.name);
  }

  void observe(const NodeData& node, const Array& value, const Array& error) override {
    const Array golden = golden_.settle(node.name, value);
    CheckpointRow* row = rows_.find(node.name);
    if (row == nullptr) return;
    row->golden_rms = rms(golden.values());
    if (noise_ == nullptr) {
      row->note = distrust(node.name, row->axes, row->shape, golden.values(),
                           file_.batch.attention_mask, schedule_.storage_of(node.name));
    }
    if (!is_handed_over(node.name)) return;
    const Array deviation = noise_ == nullptr ? error : noise_->widened(node.name, error);
    const auto unsure = unsure_keys(node, deviation);
    if (!unsure) look_for_growth(*row, deviation);
    if (const std::string text = unsure_text(unsure, deviation.size()); !text.empty()) {
      row->note = text;
    }
    const Array raw = ledger_.values(node.name);
    const Array given =
        read_masks(node.name, schedule_, golden, raw, ledger_.restrictions(node.name).before_mask);
    const Compared all =
        without(unsure, without(not_compared(file_, ledger_, node), {golden, given, deviation}));
    compare_row(*row, all);
    const bool whole = !ledger_.restrictions(node.name).any();
    if (watch_ && whole) watch_({*row, golden, raw, all.error, rule_of_row()});
  }

  Array error_of_input(const NodeData& node, const Array& value) override {
    return file_.weight_error(schedule_.storage, node, value);
  }

  // What follows from windows is judged by those that the candidate says it has.
  bool gives(const NodeData& node) override {
    return golden::is_window_size(node.name) && is_handed_over(node.name) &&
           !ledger_.restrictions(node.name).any();
  }
  std::pair<Array, Array> given(const NodeData& node) override {
    Array golden = golden_.read(node.name);
    Array error = window_difference(golden, ledger_.values(node.name), tolerance_.reach());
    return {std::move(golden), std::move(error)};
  }

  std::optional<Failure> first() { return std::move(first_); }

 private:
  bool is_handed_over(const std::string& name) const {
    return rows_.find(name) != nullptr && ledger_.find_values(name) != nullptr;
  }

  // Where errors grow beyond all numbers the analysis ends in infinity or NaN, and what it says of
  // later nodes rests on that: from there on an element may be anything finite, and nothing is
  // shown.
  void look_for_growth(CheckpointRow& row, const Array& error) {
    open_ = open_ || !all_finite_in(error.values());
    if (open_) row.note = "error analysis has no finite bound here: errors grow beyond all numbers";
  }

  BoundRule rule_of_row() const {
    BoundRule rule = tolerance_.rule();
    rule.open = open_;
    return rule;
  }

  void compare_row(CheckpointRow& row, const Compared& all) {
    const BoundRule rule = rule_of_row();
    const Comparison seen =
        compare_chunks(all.due.values(), all.given.values(), all.error.values(), rule);
    row.elements = seen.compared - all.left_out;
    row.set_free(seen);
    if (noise_ != nullptr) {
      // What is not finite was booked when there was no noise yet.
    } else if (seen.nonfinite > 0) {
      ledger_.report({Fault::nonfinite, row.name,
                      fmt::format("{}: {} of {} elements are NaN or infinite where golden is not",
                                  row.name, seen.nonfinite, seen.compared)});
    } else if (seen.unmasked > 0) {
      ledger_.report({Fault::unmasked, row.name,
                      fmt::format("{}: {} of {} elements are finite where golden is -inf (masked)",
                                  row.name, seen.unmasked, seen.compared)});
    }
    if (first_ || seen.outside == 0) return;
    keep_first(first_, row.name, seen, all.due, all.given, rule.of(all.error.values()));
  }

  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  const Tolerance& tolerance_;
  bool all_;
  SampledNoise* noise_;
  Ledger& ledger_;
  GoldenValues& golden_;
  Rows& rows_;
  const WatchFree& watch_;
  bool open_ = false;
  std::optional<Failure> first_;
};

class LocalObserver : public reference::ErrorObserver {
 public:
  LocalObserver(const Case& file, const golden::PrecisionSchedule& schedule,
                const LocalInputs& inputs, const Ledger& ledger, Rows& rows)
      : file_(file), schedule_(schedule), inputs_(inputs), ledger_(ledger), rows_(rows) {}

  Array error_of_input(const NodeData& node, const Array& value) override {
    return file_.weight_error(schedule_.storage, node, value);
  }

  bool wants(const NodeData& node) override {
    return rows_.find(node.name) != nullptr && ledger_.find_values(node.name) != nullptr;
  }
  void observe(const NodeData& node, const Array& value, const Array& error) override {
    // A loss is defined by the logits that it is made from.
    const bool by_logits = file_.undefined.is_loss_of_them(node.name) && inputs_.replaced("logits");
    const Array given = read_masks(node.name, schedule_, value, ledger_.values(node.name),
                                   ledger_.restrictions(node.name).before_mask);
    CheckpointRow& row = *rows_.find(node.name);
    const auto unsure = unsure_keys(node, error);
    if (const std::string text = unsure_text(unsure, error.size()); !text.empty()) row.note = text;
    compare_row(row,
                without(unsure, without(by_logits ? nullptr : not_compared(file_, ledger_, node),
                                        {value, given, error})));
  }

  bool gives(const NodeData& node) override { return inputs_.replaced(node.name); }
  std::pair<Array, Array> given(const NodeData& node) override {
    Array value = inputs_.value(node.name);
    Array error = inputs_.error(schedule_, node.name, value);
    return {std::move(value), std::move(error)};
  }

  std::optional<Failure> first() { return std::move(first_); }

 private:
  void compare_row(CheckpointRow& row, const Compared& all) {
    const BoundRule rule = worst_rule(schedule_);
    const Comparison seen =
        compare_chunks(all.due.values(), all.given.values(), all.error.values(), rule);
    if (all.left_out == seen.compared) {
      row.note = "not compared: all of it rests on queries that see no key";
    }
    row.local_compared = true;
    row.local_outside = seen.outside;
    row.local_ratio = seen.max_ratio;
    if (first_ || seen.outside == 0) return;
    keep_first(first_, row.name, seen, all.due, all.given, rule.of(all.error.values()));
  }

  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  const LocalInputs& inputs_;
  const Ledger& ledger_;
  Rows& rows_;
  std::optional<Failure> first_;
};

}  // namespace

// A score that golden excludes and the candidate gives as a large negative number is masked where
// its probability is exactly 0: so far below the row's largest that the exponential underflows.
// Where it is not, the mask leaks, and the number stays.
Array read_masks(const std::string& name, const golden::PrecisionSchedule& schedule,
                 const Array& expected, const Array& candidate, bool before_mask) {
  if (!golden::is_attention_matrix(name) || !name.ends_with("scores")) return candidate;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double least = std::log(golden::smallest(schedule.accumulate)) - 1;
  const auto keys = std::max<int64_t>(1, expected.shape().back());
  auto read = Array::uninitialized(candidate.shape());
  tbb::parallel_for(int64_t{0}, candidate.size() / keys, [&](int64_t r) {
    const double* due = expected.data() + r * keys;
    const double* given = candidate.data() + r * keys;
    double most = -kInfinity;
    for (int64_t s = 0; s < keys; ++s) {
      if (std::isfinite(due[s])) most = std::max(most, given[s]);
    }
    for (int64_t s = 0; s < keys; ++s) {
      const bool masked = due[s] == -kInfinity &&
                          (before_mask || (std::isfinite(given[s]) && given[s] - most < least));
      read.data()[r * keys + s] = masked ? due[s] : given[s];
    }
  });
  return read;
}

Rows::Rows(const Case& file, const Subject& subject) {
  for (const Checkpoint& checkpoint : file.asked) {
    index_[checkpoint.name] = rows_.size();
    CheckpointRow& row = rows_.emplace_back();
    row.name = checkpoint.name;
    row.shape = checkpoint.shape;
    row.axes = checkpoint.axes;
    row.dtype = subject.dtype_of(checkpoint.name);
    row.elements = golden::element_count(checkpoint.shape);
  }
}

CheckpointRow* Rows::find(const std::string& name) {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &rows_[found->second];
}

std::optional<Failure> free_running_view(const Case& file,
                                         const golden::PrecisionSchedule& schedule,
                                         const Tolerance& tolerance, bool all, SampledNoise* noise,
                                         Ledger& ledger, GoldenValues& golden, Rows& rows,
                                         const WatchFree& watch) {
  FreeObserver observer(file, schedule, tolerance, all, noise, ledger, golden, rows, watch);
  reference::evaluate_with_error(*file.graph, file.bindings, schedule,
                                 reference::ErrorNorm::deviation, observer, tolerance.reach());
  return observer.first();
}

Array LocalInputs::error(const golden::PrecisionSchedule& schedule, const std::string& name,
                         const Array& held) const {
  const golden::Precision storage = schedule.storage_of(name);
  if (read_narrower) {
    Array narrowing = narrowing_error(storage, held);
    if (!narrowing.absent()) return narrowing;
  }
  const bool wider = held_wider || (attention_held_wider && golden::is_attention_matrix(name));
  return wider ? rounding_error(storage, held) : Array();
}

LocalInputs forced_inputs(const Case& file, const golden::PrecisionSchedule& schedule,
                          const GoldenValues& golden) {
  return {.described = "golden values in the storage type",
          .replaced = [&file](const std::string& name) { return file.can_be_forced(name); },
          .value =
              [&schedule, &golden](const std::string& name) {
                return golden.rounded(name, schedule.storage_of(name));
              }};
}

LocalInputs with_own_attention(const LocalInputs& forced, const golden::PrecisionSchedule& schedule,
                               const Ledger& ledger) {
  if (!schedule.eager || schedule.wide_attention) return forced;
  LocalInputs inputs = forced;
  const auto own = [&ledger](const std::string& name) {
    const CompactTensor* values =
        golden::is_attention_matrix(name) ? ledger.find_values(name) : nullptr;
    return values != nullptr && values->readable();
  };
  inputs.replaced = [forced, own](const std::string& name) {
    return forced.replaced(name) || own(name);
  };
  inputs.value = [forced, own, &ledger](const std::string& name) {
    return own(name) ? ledger.values(name) : forced.value(name);
  };
  inputs.attention_held_wider = true;
  return inputs;
}

LocalInputs own_inputs(const golden::PrecisionSchedule& schedule, const Ledger& ledger) {
  return {.described = "the candidate's own tensors",
          .replaced =
              [&schedule, &ledger](const std::string& name) {
                if (schedule.wide_attention && golden::is_attention_matrix(name)) return false;
                const CompactTensor* own = ledger.find_values(name);
                return own != nullptr && !ledger.restrictions(name).any() && own->readable();
              },
          .value = [&ledger](const std::string& name) { return ledger.values(name); },
          .read_narrower = true};
}

std::function<bool(int64_t)> before_position(const golden::Shape& shape, const std::string& axes,
                                             int64_t first) {
  const std::size_t axis = axes.find('T');
  if (first <= 0 || axis == std::string::npos) return nullptr;
  int64_t stride = 1;
  for (std::size_t a = axis + 1; a < shape.size(); ++a) stride *= shape[a];
  return [=, positions = shape[axis]](int64_t i) { return i / stride % positions < first; };
}

std::function<bool(int64_t)> not_compared(const Case& file, const Ledger& ledger,
                                          const NodeData& node) {
  const auto undefined = file.undefined.in(node);
  const auto missing = before_position(node.shape(), node.result.axes,
                                       ledger.restrictions(node.name).first_position);
  if (!undefined || !missing) return undefined ? undefined : missing;
  return [=](int64_t i) { return undefined(i) || missing(i); };
}

void run_subject(const Case& file, Subject& subject, const Forced& forced, Ledger& ledger) {
  file.check_left_out(subject.known_names());
  const Looking looking(
      subject, [&](const std::string& name) { return file.interest_in(name); },
      file.wanted(subject.capabilities().can_force));
  subject.run(file.batch, forced, [&](Observed observed) {
    const golden::DType due = subject.dtype_of(observed.name);
    const golden::DType storage = dtype_of(subject.precision().storage_of(observed.name));
    ledger.take(std::move(observed), due, storage);
  });
  ledger.close();
}

void run_forced(const Case& file, Subject& subject, const LocalInputs& inputs, Ledger& ledger) {
  golden::Tensor current;  // lives until the next call
  const Forced forced = [&](const std::string& name) -> const golden::Tensor* {
    if (!inputs.replaced(name)) return nullptr;
    const Array value = inputs.value(name);
    current = {value.shape(), {value.values().begin(), value.values().end()}};
    return &current;
  };
  run_subject(file, subject, forced, ledger);
}

std::optional<Failure> local_view(const Case& file, const golden::PrecisionSchedule& schedule,
                                  const LocalInputs& inputs, const Ledger& ledger, Rows& rows) {
  LocalObserver observer(file, schedule, inputs, ledger, rows);
  reference::evaluate_with_error(*file.graph, file.bindings, schedule, reference::ErrorNorm::worst,
                                 observer);
  return observer.first();
}

}  // namespace assay::verify
