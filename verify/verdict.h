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
  bool wants_device = false;  // skipped because there is no device
};

// The verdict of all checks together: the worst of fail, untrusted, inconclusive, skipped; else
// pass, or inconclusive if there is no check at all. Each check was asked for: one that was skipped
// is not passed, whatever the others say.
Status overall(const std::vector<Check>& checks);

// 0 every check passed; 1 one failed; 77 all is passed but what was skipped for want of a device;
// 3 anything else.
int exit_code(const std::vector<Check>& checks);

}  // namespace assay::verify
