// assay suite verify: `assay verify` over the golden files of a suite.
#pragma once

#include <string>

#include "cli/command.h"
#include "golden/contract/precision.h"
#include "golden/suites/suite.h"
#include "verify/verdict.h"

namespace assay::cli {

// The verdict on one case as one check, named "<case> <precision>": pass, fail, untrusted as its
// checks are; skipped(reason) where the subject cannot run it; inconclusive where its golden file is
// missing, damaged or another case's. A subject that throws has failed.
verify::Check judge_case(const golden::SuiteCase& suite_case, const std::string& folder,
                         const std::string& subject, golden::Precision precision);

void add_suite_verify(CLI::App& suite, Outcome& outcome);

}  // namespace assay::cli
