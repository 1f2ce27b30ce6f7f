#include "verify/verdict.h"

#include <algorithm>

namespace assay::verify {

std::string status_name(Status status) {
  switch (status) {
    case Status::pass:
      return "pass";
    case Status::fail:
      return "fail";
    case Status::untrusted:
      return "untrusted";
    case Status::inconclusive:
      return "inconclusive";
    case Status::skipped:
      return "skipped";
  }
  return "unknown";
}

Status overall(const std::vector<Check>& checks) {
  for (const Status status :
       {Status::fail, Status::untrusted, Status::inconclusive, Status::skipped, Status::pass}) {
    const bool any = std::any_of(checks.begin(), checks.end(),
                                 [&](const Check& check) { return check.status == status; });
    if (any) return status;
  }
  return Status::inconclusive;
}

int exit_code(const std::vector<Check>& checks) {
  switch (overall(checks)) {
    case Status::pass:
      return 0;
    case Status::fail:
      return 1;
    case Status::skipped: {
      const bool device = std::all_of(checks.begin(), checks.end(), [](const Check& check) {
        return check.status != Status::skipped || check.wants_device;
      });
      return device ? 77 : 3;
    }
    case Status::untrusted:
    case Status::inconclusive:
      break;
  }
  return 3;
}

}  // namespace assay::verify
