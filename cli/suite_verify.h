// assay suite verify: `assay verify` over the golden files of a suite.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/subjects.h"
#include "golden/contract/precision.h"
#include "golden/suites/suite.h"
#include "verify/judge/decoding.h"
#include "verify/report/report.h"

namespace assay::cli {

// How every case is judged, where the case does not say.
struct CaseOptions {
  SubjectOptions elsewhere;
  std::vector<std::string> required;
  bool strict = false;
  verify::Decoding decoding = verify::Decoding::where_it_can;
  bool modes = false;  // beside those that ask for it themselves
};

// The report on one case, titled "<case> <precision>", as `assay verify` gives it. Where the
// subject cannot run the case it is one skipped check, where the golden file is missing, damaged or
// another case's an inconclusive one. A subject that throws has failed.
verify::RunReport judge_case(const golden::SuiteCase& suite_case, const std::string& folder,
                             const std::string& subject, golden::Precision precision,
                             const CaseOptions& how = {});

void add_suite_verify(CLI::App& suite, Outcome& outcome);

}  // namespace assay::cli
