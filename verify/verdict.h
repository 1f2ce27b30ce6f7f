// The outcome of a check and of a whole run. Only pass is a pass.
#pragma once

#include <string>
#include <vector>

namespace assay::verify {

enum class Status { pass, fail, untrusted, inconclusive, skipped };

std::string status_name(Status status);

struct Check {
  std::string name;  // "numerics", "prefix detector"
  Status status = Status::inconclusive;
  std::string summary;               // one line: what was compared and what came out
  std::vector<std::string> details;  // further lines: first failure, evidence, how to see it again
  double seconds = 0;
};

// The verdict of all checks together: the worst of fail, untrusted, inconclusive; else pass if one
// passed; else skipped, or inconclusive if there is no check at all.
Status overall(const std::vector<Check>& checks);

// 0 passed; 1 failed; 3 anything else.
int exit_code(const std::vector<Check>& checks);

}  // namespace assay::verify
