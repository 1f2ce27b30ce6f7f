// A judgement in the forms it is told in: a text for the terminal, HTML for people, JSON for
// machines. JUnit is the checks' (verify/report/report.h).
#pragma once

#include <string>
#include <vector>

#include "verify/training/finding.h"
#include "verify/verdict.h"

namespace assay::verify::training {

// Verdict, reason, flags; a table of every statistic; what did not run, and what would decide more.
std::string terminal_text(const Evidence& evidence, const Judgement& judgement, bool colour);

// "assay_overfit_report": the number of the format. Numbers that are not finite are null.
std::string json_text(const Evidence& evidence, const Judgement& judgement,
                      const std::string& command_line);

// One page that needs nothing else.
std::string html_text(const Evidence& evidence, const Judgement& judgement,
                      const std::string& command_line);

// The verdict and each statistic as a check: fired is fail, what did not run is skipped.
std::vector<Check> checks_of(const Judgement& judgement);

}  // namespace assay::verify::training
