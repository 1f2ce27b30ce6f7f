#include "cli/compare/candidates.h"

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <memory>

#include "cli/command_line.h"
#include "verify/judge/parting.h"
#include "verify/subjects/program.h"

namespace assay::cli {
namespace {

// Rows of one pair, in the order of their first coming.
class PairRows {
 public:
  void put(verify::PairRow row) {
    const auto [at, made] = places_.emplace(row.name, rows_.size());
    if (made) {
      rows_.push_back(std::move(row));
    } else {
      rows_[at->second] = std::move(row);
    }
  }
  std::vector<verify::PairRow> take() { return std::move(rows_); }

 private:
  std::map<std::string, std::size_t> places_;
  std::vector<verify::PairRow> rows_;
};

// A candidate on its way through the judge.
struct Contender {
  const JudgeOptions* options = nullptr;
  verify::RunReport report = {};
  std::unique_ptr<verify::Subject> subject = nullptr;  // none: it failed when it was made
  const RoundedGolden* rounded = nullptr;
  std::unique_ptr<verify::JudgedBefore> judged = nullptr;  // none: it failed
};

class SideBySideRun {
 public:
  explicit SideBySideRun(const std::vector<JudgeOptions>& candidates) : open_(candidates[0]) {
    for (const JudgeOptions& options : candidates) enter(options);
    for (std::size_t i = 0; i < contenders_.size(); ++i) foresee(i);
  }

  verify::RunReport report() {
    for (std::size_t i = 0; i < contenders_.size(); ++i) judge_one(i);
    verify::RunReport report = report_on(*contenders_[0].options, open_.golden);
    report.title = fmt::format("method {}, {} candidates", report.method, contenders_.size());
    report.subject.clear();
    verify::SideBySide table;
    for (std::size_t i = 0; i < contenders_.size(); ++i) {
      verify::RunReport& part = contenders_[i].report;
      const std::string label = candidate_label(i);
      const std::string presented =
          part.title + ", judged as " + golden::precision_name(contenders_[i].options->precision);
      report.subject += fmt::format("{}{}: {}", i == 0 ? "" : "; ", label, part.subject);
      table.candidates.push_back(
          verify::make_candidate(label, presented, part.checks, part.rows, part.diverged));
      part.title = fmt::format("{}: {}", label, presented);
      verify::add_case(report, std::move(part));
      report.checks.back().name = label;
    }
    for (auto& [pair, rows] : pairs_) {
      table.pairs.push_back({pair.first, pair.second, rows.take()});
    }
    report.checks.push_back(verify::conclusion_check(table));
    report.side_by_side = std::move(table);
    return report;
  }

 private:
  void enter(const JudgeOptions& options) {
    Contender& one = contenders_.emplace_back();
    one.options = &options;
    one.report = report_on(options, open_.golden);
    one.report.title = options.subject;
    try {
      one.subject = make_subject(options.subject, options.precision, open_.golden.header().config,
                                 open_.golden, of_batch(options.elsewhere, open_.golden));
    } catch (const verify::SubjectFailure& failure) {
      one.report.checks.push_back(failed(failure));
      return;
    }
    one.report.subject = one.report.title = one.subject->describe();
    if (const std::string how = one.subject->arithmetic(); !how.empty()) {
      one.report.title += "; " + how;
    }
    const golden::Precision storage = one.subject->precision().storage;
    if (!options.equal && !rounded_.contains(storage)) {
      rounded_[storage] = RoundedGolden::of(open_.golden, storage);
    }
    one.rounded = options.equal ? nullptr : rounded_[storage].get();
    one.judged = std::make_unique<verify::JudgedBefore>(one.subject->precision(),
                                                        !one.subject->capabilities().can_run);
  }

  // What of a candidate has to be kept for those behind it.
  void foresee(std::size_t i) {
    const Contender& one = contenders_[i];
    for (std::size_t j = i + 1; j < contenders_.size(); ++j) {
      const Contender& later = contenders_[j];
      pairs_[{i, j}] = {};
      if (one.judged == nullptr || later.judged == nullptr) continue;
      const golden::PrecisionSchedule schedule = later.subject->precision();
      if (!one.judged->like(schedule, !later.subject->capabilities().can_run)) {
        one.judged->keep_bounds();
      }
      const bool rounds_alike = schedule.storage == one.subject->precision().storage;
      if (one.rounded != later.rounded || (one.options->equal && !rounds_alike)) {
        one.judged->keep_golden();
      }
    }
  }

  void judge_one(std::size_t i) {
    Contender& one = contenders_[i];
    if (one.subject == nullptr) return;
    const auto start = std::chrono::steady_clock::now();
    const auto watch = [&](const verify::FreeComparison& seen) {
      for (std::size_t k = 0; k < i; ++k) {
        const auto& before = contenders_[k].judged;
        if (before == nullptr || !before->has(seen.row.name)) continue;
        pairs_[{k, i}].put(before->against(*one.judged, seen));
      }
      one.judged->note(seen);
    };
    try {
      one.judged->note_values(compare_numbers(*one.options, open_.golden, one.rounded, *one.subject,
                                              watch, one.report));
    } catch (const verify::SubjectFailure& failure) {
      one.report.checks.push_back(failed(failure));
      one.judged.reset();
      for (std::size_t k = 0; k < i; ++k) pairs_[{k, i}] = {};
    }
    one.report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  OpenGolden open_;
  std::map<golden::Precision, std::unique_ptr<RoundedGolden>> rounded_;
  std::vector<Contender> contenders_;
  std::map<std::pair<std::size_t, std::size_t>, PairRows> pairs_;
};

}  // namespace

std::string candidate_label(std::size_t index) {
  return std::string(1, static_cast<char>('A' + index));
}

verify::RunReport judge_side_by_side(const std::vector<JudgeOptions>& candidates) {
  return SideBySideRun(candidates).report();
}

}  // namespace assay::cli
