#include "verify/numerics/views.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/interpreters/error.h"

namespace assay::verify {
namespace {

using reference::Array;
using reference::NodeData;

void keep_first(std::optional<Failure>& first, const std::string& name, const Comparison& seen,
                std::span<const double> expected, std::vector<double> candidate,
                std::span<const double> bound) {
  if (first || seen.outside == 0) return;
  first = Failure{name,
                  seen,
                  {expected.begin(), expected.end()},
                  std::move(candidate),
                  {bound.begin(), bound.end()}};
}

double rms(std::span<const double> values) {
  double sum_sq = 0;
  int64_t finite = 0;
  for (const double x : values) {
    if (!std::isfinite(x)) continue;
    sum_sq += x * x;
    ++finite;
  }
  return finite == 0 ? 0 : std::sqrt(sum_sq / static_cast<double>(finite));
}

// Where errors grow beyond all numbers the analysis ends in infinity or NaN, and what it says of
// later nodes rests on that: from there on an element may be anything finite, and nothing is shown.
// Returns whether that point is reached.
bool open_bounds(std::vector<double>& bound, bool reached) {
  reached = reached ||
            std::any_of(bound.begin(), bound.end(), [](double b) { return !std::isfinite(b); });
  if (reached) std::fill(bound.begin(), bound.end(), std::numeric_limits<double>::infinity());
  return reached;
}

// A score that golden excludes and the candidate gives as a large negative number is masked where
// its probability is exactly 0: so far below the row's largest that the exponential underflows.
// Where it is not, the mask leaks, and the number stays.
void read_masks(const std::string& name, const golden::PrecisionSchedule& schedule,
                std::span<const double> expected, int64_t keys, std::vector<double>& candidate) {
  if (!golden::is_attention_matrix(name) || !name.ends_with("scores") || keys == 0) return;
  const double least = std::log(golden::smallest(schedule.accumulate)) - 1;
  for (std::size_t first = 0; first < candidate.size(); first += static_cast<std::size_t>(keys)) {
    const auto row = std::span(candidate).subspan(first, static_cast<std::size_t>(keys));
    double most = -std::numeric_limits<double>::infinity();
    for (std::size_t s = 0; s < row.size(); ++s) {
      if (std::isfinite(expected[first + s])) most = std::max(most, row[s]);
    }
    for (std::size_t s = 0; s < row.size(); ++s) {
      const bool excluded = expected[first + s] == -std::numeric_limits<double>::infinity();
      if (excluded && std::isfinite(row[s]) && row[s] - most < least) row[s] = expected[first + s];
    }
  }
}

class FreeObserver : public reference::ErrorObserver {
 public:
  FreeObserver(const Case& file, const golden::PrecisionSchedule& schedule,
               const Tolerance& tolerance, Ledger& ledger, GoldenValues& golden, Rows& rows)
      : file_(file),
        schedule_(schedule),
        tolerance_(tolerance),
        ledger_(ledger),
        golden_(golden),
        rows_(rows) {}

  void observe(const NodeData& node, Array& value, Array& error) override {
    if (!file_.declares(node.name)) return;
    const std::vector<double> golden = golden_.settle(node.name, value);
    CheckpointRow* row = rows_.find(node.name);
    if (row == nullptr) return;
    row->golden_rms = rms(golden);
    row->note = distrust(node.name, row->axes, row->shape, golden, file_.batch.attention_mask,
                         schedule_.storage_of(node.name));
    const CompactTensor* candidate = ledger_.values(node.name);
    if (candidate == nullptr) return;
    compare_row(*row, golden, candidate->values(), error);
  }

  Array error_of_input(const NodeData& node, const Array& value) override {
    return file_.weight_error(schedule_.storage, node, value);
  }

  std::optional<Failure> first() { return std::move(first_); }

 private:
  void compare_row(CheckpointRow& row, std::span<const double> golden,
                   std::vector<double> candidate, const Array& error) {
    read_masks(row.name, schedule_, golden, error.shape().empty() ? 0 : error.shape().back(),
               candidate);
    std::vector<double> bound(error.values().begin(), error.values().end());
    row.free_sigmas = compare(golden, candidate, bound).max_ratio;
    tolerance_.bounds(row.name, bound);
    open_ = open_bounds(bound, open_);
    if (open_) row.note = "error analysis has no finite bound here: errors grow beyond all numbers";
    row.relative_bound = row.golden_rms == 0 ? 0 : rms(bound) / row.golden_rms;
    const Comparison seen = compare(golden, candidate, bound);
    row.compared = true;
    row.free_outside = seen.outside;
    row.free_ratio = seen.max_ratio;
    row.rms_error = seen.rms_error;
    if (seen.nonfinite > 0) {
      ledger_.report({Fault::nonfinite, row.name,
                      fmt::format("{}: {} of {} elements are NaN or infinite where golden is not",
                                  row.name, seen.nonfinite, seen.compared)});
    } else if (seen.unmasked > 0) {
      ledger_.report({Fault::unmasked, row.name,
                      fmt::format("{}: {} of {} elements are finite where golden is -inf (masked)",
                                  row.name, seen.unmasked, seen.compared)});
    }
    keep_first(first_, row.name, seen, golden, std::move(candidate), bound);
  }

  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  const Tolerance& tolerance_;
  Ledger& ledger_;
  GoldenValues& golden_;
  Rows& rows_;
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

  void observe(const NodeData& node, Array& value, Array& error) override {
    CheckpointRow* row = rows_.find(node.name);
    const CompactTensor* candidate = ledger_.values(node.name);
    if (row != nullptr && candidate != nullptr) {
      compare_row(*row, value, error, candidate->values());
    }
    if (inputs_.replaced(node.name)) {
      value = inputs_.value(node.name);
      error = inputs_.held_wider ? rounding_error(schedule_.storage_of(node.name), value) : Array();
    }
  }

  std::optional<Failure> first() { return std::move(first_); }

 private:
  void compare_row(CheckpointRow& row, const Array& value, const Array& error,
                   std::vector<double> candidate) {
    read_masks(row.name, schedule_, value.values(),
               value.shape().empty() ? 0 : value.shape().back(), candidate);
    std::vector<double> bound(error.values().begin(), error.values().end());
    finish_worst_bounds(schedule_, bound);
    const Comparison seen = compare(value.values(), candidate, bound);
    row.local_compared = true;
    row.local_outside = seen.outside;
    row.local_ratio = seen.max_ratio;
    keep_first(first_, row.name, seen, value.values(), std::move(candidate), bound);
  }

  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  const LocalInputs& inputs_;
  const Ledger& ledger_;
  Rows& rows_;
  std::optional<Failure> first_;
};

}  // namespace

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
                                         const Tolerance& tolerance, Ledger& ledger,
                                         GoldenValues& golden, Rows& rows) {
  FreeObserver observer(file, schedule, tolerance, ledger, golden, rows);
  reference::evaluate_with_error(*file.graph, file.bindings, schedule,
                                 reference::ErrorNorm::deviation, observer, tolerance.reach());
  return observer.first();
}

LocalInputs forced_inputs(const Case& file, const golden::PrecisionSchedule& schedule,
                          const GoldenValues& golden) {
  return {.described = "golden values in the storage type",
          .replaced = [&file](const std::string& name) { return file.can_be_forced(name); },
          .value =
              [&schedule, &golden](const std::string& name) {
                const golden::Tensor value = golden.rounded(name, schedule.storage_of(name));
                return Array::copy_of(value.shape, value.values);
              }};
}

LocalInputs own_inputs(const golden::PrecisionSchedule& schedule, const Ledger& ledger) {
  return {.described = "the candidate's own tensors",
          .replaced =
              [&schedule, &ledger](const std::string& name) {
                if (schedule.wide_attention && golden::is_attention_matrix(name)) return false;
                return ledger.values(name) != nullptr;
              },
          .value = [&ledger](const std::string& name) { return ledger.values(name)->array(); }};
}

void run_subject(const Case& file, Subject& subject, const Forced& forced, Ledger& ledger) {
  file.check_left_out(subject.known_names());
  subject.look_for([&file](const std::string& name) { return file.interest_in(name); });
  subject.run(file.batch, forced, [&](Observed observed) {
    const golden::DType due = subject.dtype_of(observed.name);
    ledger.take(std::move(observed), due);
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
