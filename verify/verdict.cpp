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
       {Status::fail, Status::untrusted, Status::inconclusive, Status::pass, Status::skipped}) {
    const bool any = std::any_of(checks.begin(), checks.end(),
                                 [&](const Check& check) { return check.status == status; });
    if (any) return status;
  }
  return Status::inconclusive;
}

int exit_code(const std::vector<Check>& checks) {
  const Status verdict = overall(checks);
  return verdict == Status::pass ? 0 : verdict == Status::fail ? 1 : 3;
}

}  // namespace assay::verify
