#include "verify/judge/equality.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "verify/judge/untapped.h"
#include "verify/numerics/ledger_check.h"
#include "verify/numerics/views.h"
#include "verify/statistics/compare.h"

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

// Compares what the reference computes, settled against the golden file, with the candidate.
class EqualityObserver : public reference::Observer {
 public:
  EqualityObserver(const Case& file, const golden::PrecisionSchedule& schedule,
                   const Ledger& ledger, const golden::GoldenReader& golden, Rows& rows)
      : file_(file), schedule_(schedule), ledger_(ledger), golden_(golden), rows_(rows) {}

  reference::Array observe(const reference::NodeData& node, reference::Array value) override {
    if (!file_.declares(node.name)) return value;
    std::vector<double> golden = golden_.settle(node.name, value);
    CheckpointRow* row = rows_.find(node.name);
    const CompactTensor* candidate = ledger_.values(node.name);
    if (row == nullptr || candidate == nullptr) return value;
    const golden::Precision storage = schedule_.storage_of(node.name);
    for (double& x : golden) x = golden::round_to(storage, x);
    compare_row(*row, golden, candidate->values());
    return value;
  }

  // Of the first checkpoint that differs; empty if none does.
  const std::vector<std::string>& first() const { return first_; }
  const std::string& first_name() const { return first_name_; }

 private:
  void compare_row(CheckpointRow& row, const std::vector<double>& golden,
                   const std::vector<double>& candidate) {
    const Comparison seen = compare(golden, candidate, std::vector<double>(golden.size(), 0.0));
    row.compared = true;
    row.free_outside = seen.outside;
    row.rms_error = seen.rms_error;
    const bool masks = golden::is_attention_matrix(row.name);  // with -inf
    if (std::all_of(golden.begin(), golden.end(), [](double x) { return x == 0; })) {
      row.note = "golden is all zero";
    } else if (std::any_of(golden.begin(), golden.end(),
                           [&](double x) { return !std::isfinite(x) && !(masks && x < 0); })) {
      row.note = "golden holds NaN or infinities";
    }
    if (seen.outside == 0 || !first_.empty()) return;
    const auto index = static_cast<std::size_t>(seen.first);
    first_name_ = row.name;
    first_ = {
        fmt::format("{} {} {}: {} of {} elements differ", row.name, golden::shape_text(row.shape),
                    golden::dtype_name(row.dtype), seen.outside, seen.compared),
        fmt::format("first at {}: golden {:.17g}, candidate {:.17g}", place(row, seen.first),
                    golden[index], candidate[index])};
  }

  const Case& file_;
  const golden::PrecisionSchedule& schedule_;
  const Ledger& ledger_;
  GoldenValues golden_;
  Rows& rows_;
  std::vector<std::string> first_;
  std::string first_name_;
};

Check equality_check(const std::vector<CheckpointRow>& rows) {
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
  check.status = compared == 0 || differing > 0 ? Status::fail
                 : untrusted > 0                ? Status::untrusted
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
  const Case file(golden, options.pattern, options.left_out,
                  [&subject](const std::string& name) { return subject.computes(name); });
  Ledger ledger(file.asked, subject.describe());
  ledger.tolerate(file.undemanded);
  ledger.check_origin(std::to_string(golden.header().seed), golden.config_hash(), subject);
  run_subject(file, subject, {}, ledger);
  const double run_seconds = seconds_since(start);

  start = Clock::now();
  Rows rows(file, subject);
  EqualityObserver observer(file, schedule, ledger, golden, rows);
  reference::evaluate(*file.graph, file.bindings, observer);
  book_nothing(rows.all(), ledger);
  NumericsResult result;
  result.checks = {ledger_check(file, rows.all(), ledger, run_seconds), equality_check(rows.all())};
  result.checks[1].seconds = seconds_since(start);
  if (subject.capabilities().can_run_untapped) {
    result.checks.push_back(untapped_check(file, subject, ledger));
  }
  result.diverged = observer.first_name();
  result.first_divergence = observer.first();
  std::vector<std::string>& details = result.checks[1].details;
  details.insert(details.begin(), observer.first().begin(), observer.first().end());
  for (CheckpointRow& row : rows.all()) {
    row.fault = ledger.fault_of(row.name);
    const bool wrong = row.fault != Fault::none || !row.compared || row.free_outside > 0;
    row.status = wrong ? Status::fail : row.note.empty() ? Status::pass : Status::untrusted;
    result.elements += row.compared ? row.elements : 0;
  }
  result.rows = std::move(rows.all());
  return result;
}

}  // namespace assay::verify
