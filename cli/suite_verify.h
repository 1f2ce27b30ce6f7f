// assay suite verify: `assay verify` over the golden files of a suite.
#pragma once

#include <string>

#include "cli/command.h"
#include "cli/subjects.h"
#include "golden/contract/precision.h"
#include "golden/suites/suite.h"
#include "verify/report/report.h"

namespace assay::cli {

// The report on one case, titled "<case> <precision>", as `assay verify` gives it. Where the
// subject cannot run the case it is one skipped check, where the golden file is missing, damaged or
// another case's an inconclusive one. A subject that throws has failed.
verify::RunReport judge_case(const golden::SuiteCase& suite_case, const std::string& folder,
                             const std::string& subject, golden::Precision precision,
                             const SubjectOptions& elsewhere = {});

void add_suite_verify(CLI::App& suite, Outcome& outcome);

}  // namespace assay::cli
