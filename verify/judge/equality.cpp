#include "verify/judge/equality.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "verify/judge/decoding.h"
#include "verify/judge/modes.h"
#include "verify/judge/parts.h"
#include "verify/judge/untapped.h"
#include "verify/numerics/ledger_check.h"
#include "verify/numerics/views.h"
#include "verify/statistics/chunks.h"

namespace assay::verify {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// "(b1,h0,t17,s9)" from an index and the axes of its tensor.
std::string place(const CheckpointRow& row, int64_t index) {
  std::vector<int64_t> at(row.shape.size());
  for (std::size_t axis = row.shape.size(); axis-- > 0; index /= row.shape[axis]) {
    at[axis] = index % row.shape[axis];
  }
  std::string text;
  for (std::size_t axis = 0; axis < at.size(); ++axis) {
    text += fmt::format("{}{}{}", axis == 0 ? "" : ",",
                        static_cast<char>(std::tolower(row.axes[axis])), at[axis]);
  }
  return "(" + text + ")";
}

// Compares the golden values, made again where the file has only their hashes, with the candidate.
class EqualityObserver : public reference::Observer {
 public:
  EqualityObserver(const Case& file, const golden::PrecisionSchedule& schedule,
                   const Ledger& ledger, const golden::GoldenReader& golden, Rows& rows,
                   const WatchFree& watch)
      : file_(file),
        schedule_(schedule),
        ledger_(ledger),
        golden_(golden),
        rows_(rows),
        watch_(watch) {}

  bool wants(const reference::NodeData& node) override { return is_handed_over(node.name); }

  reference::Array observe(const reference::NodeData& node, reference::Array value) override {
    compare_row(*rows_.find(node.name), golden_.settle(node.name, value));
    return value;
  }

  // The same without a reference, of what the golden file holds. false: it does not hold all.
  bool compare_stored() {
    const auto in_file = [&](const CheckpointRow& row) {
      return !is_handed_over(row.name) || file_.golden.find("/forward/" + row.name)->stored;
    };
    if (!std::all_of(rows_.all().begin(), rows_.all().end(), in_file)) return false;
    for (CheckpointRow& row : rows_.all()) {
      if (is_handed_over(row.name)) compare_row(row, golden_.read(row.name));
    }
    return true;
  }

  // Of the first checkpoint that differs; empty if none does.
  const std::vector<std::string>& first() const { return first_; }
  const std::string& first_name() const { return first_name_; }

 private:
  bool is_handed_over(const std::string& name) const {
    return rows_.find(name) != nullptr && ledger_.find_values(name) != nullptr;
  }

  void compare_row(CheckpointRow& row, reference::Array due) {
    const golden::Precision storage = schedule_.storage_of(row.name);
    if (storage != golden::Precision::fp64) due = rounded_to(storage, due);
    reference::Array given = ledger_.values(row.name);
    const int64_t left_out = take_over(row, due, given);
    const std::span<const double> golden = due.values(), candidate = given.values();
    const Comparison seen = compare_exactly(golden, candidate);
    row.compared = true;
    row.elements -= left_out;
    row.dtype = ledger_.judged_as(row.name, row.dtype);
    row.free_outside = seen.outside;
    row.rms_error = seen.rms_error;
    const std::string doubt =
        distrust(row.name, row.axes, row.shape, golden, file_.batch.attention_mask, storage);
    if (doubt == kAllZero || doubt.starts_with(kNotFinite)) row.note = doubt;
    if (watch_ && !ledger_.restrictions(row.name).any())
      watch_({row, due, given, reference::Array(), {}});
    if (seen.outside == 0 || !first_.empty()) return;
    const auto index = static_cast<std::size_t>(seen.first);
    first_name_ = row.name;
    first_ = {
        fmt::format("{} {} {}: {} of {} elements differ", row.name, golden::shape_text(row.shape),
                    golden::dtype_name(row.dtype), seen.outside, seen.compared),
        fmt::format("first at {}: golden {:.17g}, candidate {:.17g}", place(row, seen.first),
                    golden[index], candidate[index])};
  }

  // Elements that were not handed over, or stand before a mask, agree.
  int64_t take_over(const CheckpointRow& row, const reference::Array& due,
                    reference::Array& given) const {
    const Restrictions& restrictions = ledger_.restrictions(row.name);
    const auto missing = before_position(row.shape, row.axes, restrictions.first_position);
    if (!missing && !restrictions.before_mask) return 0;
    given = reference::Array::copy_of(given.shape(), given.values());
    int64_t count = 0;
    for (int64_t i = 0; i < given.size(); ++i) {
      const bool masked = restrictions.before_mask && due.data()[i] == -HUGE_VAL;
      if (!masked && !(missing && missing(i))) continue;
      given.data()[i] = due.data()[i];
      ++count;
    }
    return count;
  }

  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  const Ledger& ledger_;
  GoldenValues golden_;
  Rows& rows_;
  const WatchFree& watch_;
  std::vector<std::string> first_;
  std::string first_name_;
};

Check equality_check(const std::vector<CheckpointRow>& rows, bool part) {
  int64_t compared = 0, differing = 0, untrusted = 0, elements = 0;
  Check check{.name = "numerics: equality", .summary = {}, .details = {}};
  for (const CheckpointRow& row : rows) {
    if (!row.compared) continue;
    ++compared;
    elements += row.elements;
    differing += row.free_outside > 0;
    untrusted += !row.note.empty();
    if (!row.note.empty()) check.details.push_back("untrusted: " + row.name + ": " + row.note);
  }
  check.status = compared == 0 && part            ? Status::inconclusive
                 : compared == 0 || differing > 0 ? Status::fail
                 : untrusted > 0                  ? Status::untrusted
                                                  : Status::pass;
  check.summary = fmt::format("{} of {} checkpoints differ, {} elements, no tolerance", differing,
                              compared, elements);
  return check;
}

}  // namespace

NumericsResult verify_equality(const golden::GoldenReader& golden, Subject& subject,
                               const NumericsOptions& options) {
  auto start = Clock::now();
  const golden::PrecisionSchedule schedule = subject.precision();
  const Case file(
      golden, options.pattern, options.left_out,
      [&subject](const std::string& name) { return subject.computes(name); },
      subject.gives_a_part());
  Ledger ledger(file.asked, subject.describe());
  ledger.tolerate(file.undemanded);
  ledger.demand({.part = subject.gives_a_part(),
                 .strict = options.strict,
                 .required = file.required(options.required)});
  ledger.check_origin(std::to_string(golden.header().seed), golden.config_hash(), subject);
  run_subject(file, subject, {}, ledger);
  const double run_seconds = seconds_since(start);

  start = Clock::now();
  Rows rows(file, subject);
  KeptValues kept(file);
  DecodingJudge decoding(file, subject, kept, options.decoding, options.modes, options.command);
  const WatchFree watch = [&](const FreeComparison& seen) {
    if (options.modes || decoding.wants(seen.row.name)) kept.keep(seen);
    if (options.watch) options.watch(seen);
  };
  EqualityObserver observer(file, schedule, ledger, golden, rows, watch);
  if (!observer.compare_stored()) reference::evaluate(*file.graph, file.bindings, observer);
  book_nothing(rows.all(), ledger);
  NumericsResult result;
  result.checks = {ledger_check(file, rows.all(), ledger, subject.notes(), run_seconds),
                   equality_check(rows.all(), ledger.is_of_a_part())};
  result.checks[1].seconds = seconds_since(start);
  if (subject.capabilities().can_run_untapped) {
    result.checks.push_back(untapped_check(file, subject, ledger));
  }
  if (std::optional<Check> check = decoding.judge(ledger, {})) {
    result.checks.push_back(std::move(*check));
  }
  std::string diverged = decoding.diverged();
  std::vector<std::string> first_divergence = decoding.first_divergence();
  if (options.modes) {
    ModesResult modes = ModesJudge(file, subject, kept, options.command).judge(ledger, {});
    for (Check& check : modes.checks) result.checks.push_back(std::move(check));
    if (diverged.empty()) {
      diverged = modes.diverged;
      first_divergence = std::move(modes.first_divergence);
    }
  }
  const bool differs = !observer.first_name().empty();
  result.diverged = differs ? observer.first_name() : diverged;
  result.first_divergence = differs ? observer.first() : first_divergence;
  std::vector<std::string>& details = result.checks[1].details;
  details.insert(details.begin(), observer.first().begin(), observer.first().end());
  for (CheckpointRow& row : rows.all()) {
    row.fault = ledger.fault_of(row.name);
    if (ledger.absent().contains(row.name)) {
      row.status = Status::skipped;
      row.note = "not judged: it was not handed over";
      continue;
    }
    const bool wrong = row.fault != Fault::none || !row.compared || row.free_outside > 0;
    row.status = wrong ? Status::fail : row.note.empty() ? Status::pass : Status::untrusted;
    result.elements += row.compared ? row.elements : 0;
  }
  result.rows = std::move(rows.all());
  result.ledger = std::make_shared<const Ledger>(std::move(ledger));
  return result;
}

}  // namespace assay::verify
