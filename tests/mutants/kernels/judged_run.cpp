// The judge of numbers as a program, for kernels with a planted defect:
//   judged_run CASE SUBJECT PRECISION
// on a case of suite ci: "plain-llama-gqa-b1-t33 simt:head=1000 fp32". It prints the checks that
// did not pass, where it diverges, and the first line of the first one, or which have passed.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "cli/subjects.h"
#include "golden/file/golden_file.h"
#include "golden/generate/generate_suite.h"
#include "tests/golden/sample.h"
#include "verify/judge/numerics.h"

using namespace assay;

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const golden::Suite suite = golden::selected(golden::load_suite("ci"), argv[1]);
  const golden::sample::TemporaryFolder folder;
  golden::generate_case(suite.cases.at(0), folder.file("case.h5"), false);
  const golden::GoldenReader golden(folder.file("case.h5"));
  const auto subject =
      cli::make_subject(argv[2], golden::parse_precision(argv[3]), golden.header().config, golden);
  const verify::NumericsResult result =
      verify::verify_numerics(golden, *subject, {.diagnose = false});
  std::vector<std::string> names, failed;
  std::string first;
  for (const verify::Check& check : result.checks) {
    names.push_back(check.name);
    if (check.status == verify::Status::pass) continue;
    if (failed.empty()) first = check.details.empty() ? check.summary : check.details.front();
    failed.push_back(check.name);
  }
  if (failed.empty()) {
    fmt::print("pass: {}\n", fmt::join(names, ", "));
    return 0;
  }
  const std::string at = result.diverged.empty() ? "" : " at " + result.diverged;
  fmt::print("FAULT {}{}: {}\n", fmt::join(failed, ", "), at, first);
  return 1;
}
