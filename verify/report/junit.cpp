// The report as JUnit XML, in the form that Jenkins and GitLab read.
#include <fmt/format.h>

#include "verify/report/markup.h"
#include "verify/report/report.h"

namespace assay::verify {
namespace {

struct Suite {
  std::string name, cases;
  int tests = 0, failures = 0, errors = 0, skipped = 0;

  void add(const std::string& test, Status status, const std::string& message,
           const std::string& body, double seconds) {
    ++tests;
    cases += fmt::format("    <testcase classname=\"assay.{}\" name=\"{}\" time=\"{:.3f}\"",
                         escape_markup(name), escape_markup(test), seconds);
    if (status == Status::pass) {
      cases += "/>\n";
      return;
    }
    const char* element = "error";
    if (status == Status::fail) {
      element = "failure";
      ++failures;
    } else if (status == Status::skipped) {
      element = "skipped";
      ++skipped;
    } else {
      ++errors;
    }
    cases += fmt::format(">\n      <{0} message=\"{1}: {2}\">{3}</{0}>\n    </testcase>\n", element,
                         status_name(status), escape_markup(message), escape_markup(body));
  }

  std::string text() const {
    return fmt::format(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n{}"
        "  </testsuite>\n",
        escape_markup(name), tests, failures, errors, skipped, cases);
  }
};

std::string as_text(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += part + "\n";
  return text;
}

std::string row_message(const CheckpointRow& row) {
  if (!row.note.empty()) return row.note;
  return fmt::format("{} of {} elements outside free-running, {} given its inputs",
                     row.free_outside, row.elements, row.local_outside);
}

void add_checks(const RunReport& report, Suite& suite) {
  if (report.checks.empty()) {
    suite.add("anything", Status::inconclusive, "nothing was checked", "", 0);
  }
  for (const Check& check : report.checks) {
    suite.add(check.name, check.status, check.summary, as_text(check.details), check.seconds);
  }
}

void add_checkpoints(const RunReport& report, Suite& suite) {
  for (const CheckpointRow& row : report.rows) {
    suite.add(row.name, row.status, row_message(row), "", 0);
  }
}

// The conclusion, and a test for each checkpoint that two candidates both have.
void add_side_by_side(const SideBySide& all, Suite& suite) {
  const Check conclusion = conclusion_check(all);
  suite.add(conclusion.name, conclusion.status, conclusion.summary, as_text(conclusion.details), 0);
  for (const CandidatePair& pair : all.pairs) {
    const std::string both =
        all.candidates[pair.first].label + " - " + all.candidates[pair.second].label;
    for (const PairRow& row : pair.rows) {
      if (row.elements == 0) continue;
      suite.add(both + ": " + row.name, row.parted == 0 ? Status::pass : Status::fail,
                fmt::format("{} of {} elements part, up to {:.3g} times what both may deviate",
                            row.parted, row.elements, row.ratio),
                "", 0);
    }
  }
}

std::vector<Suite> suites_of(const RunReport& report) {
  std::vector<Suite> suites;
  for (const RunReport& part : report.cases) {
    Suite& suite = suites.emplace_back(Suite{part.title, {}});
    add_checks(part, suite);
    add_checkpoints(part, suite);
  }
  if (report.side_by_side) {
    add_side_by_side(*report.side_by_side, suites.emplace_back(Suite{"side by side", {}}));
  }
  if (suites.empty()) {
    suites = {Suite{"checks", {}}, Suite{"checkpoints", {}}};
    add_checks(report, suites[0]);
    add_checkpoints(report, suites[1]);
  }
  return suites;
}

}  // namespace

std::string junit_text(const RunReport& report) {
  int tests = 0, failures = 0, errors = 0;
  std::string text;
  for (const Suite& suite : suites_of(report)) {
    tests += suite.tests;
    failures += suite.failures;
    errors += suite.errors;
    text += suite.text();
  }
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"assay: {}\" tests=\"{}\" "
      "failures=\"{}\" errors=\"{}\">\n{}</testsuites>\n",
      escape_markup(report.title), tests, failures, errors, text);
}

}  // namespace assay::verify
