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

int exit_code(const std::vector<Check>& checks) {
  const auto any = [&](Status status) {
    return std::any_of(checks.begin(), checks.end(),
                       [&](const Check& check) { return check.status == status; });
  };
  if (any(Status::fail)) return 1;
  if (any(Status::untrusted) || any(Status::inconclusive)) return 3;
  return any(Status::pass) ? 0 : 3;
}

}  // namespace assay::verify
