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
    cases += fmt::format("    <testcase classname=\"assay.{}\" name=\"{}\" time=\"{:.3f}\"", name,
                         escape_markup(test), seconds);
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
        name, tests, failures, errors, skipped, cases);
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

}  // namespace

std::string junit_text(const RunReport& report) {
  Suite checks{"checks", {}};
  if (report.checks.empty()) {
    checks.add("anything", Status::inconclusive, "nothing was checked", "", 0);
  }
  for (const Check& check : report.checks) {
    checks.add(check.name, check.status, check.summary, as_text(check.details), check.seconds);
  }
  Suite checkpoints{"checkpoints", {}};
  for (const CheckpointRow& row : report.rows) {
    checkpoints.add(row.name, row.status, row_message(row), "", 0);
  }
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"assay: {}\" tests=\"{}\" "
      "failures=\"{}\" errors=\"{}\">\n{}{}</testsuites>\n",
      escape_markup(report.title), checks.tests + checkpoints.tests,
      checks.failures + checkpoints.failures, checks.errors + checkpoints.errors, checks.text(),
      checkpoints.text());
}

}  // namespace assay::verify
