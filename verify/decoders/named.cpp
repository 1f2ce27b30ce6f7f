#include "verify/decoders/named.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::verify {
namespace {

void require_named(const char* option, const std::string& pattern,
                   const std::set<std::string>& names) {
  const bool any = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return golden::matches(pattern, name);
  });
  if (any) return;
  constexpr std::size_t kMost = 12;
  std::vector<std::string> shown;
  for (const std::string& name : names) {
    if (shown.size() < kMost) shown.push_back(golden::one_line(name));
  }
  const std::size_t more = names.size() - shown.size();
  throw InputError(fmt::format(
      "{} {}: expected the name of a tensor that is handed over, got no such tensor; there are: "
      "{}{}",
      option, pattern, fmt::join(shown, ", "), more > 0 ? fmt::format(" and {} more", more) : ""));
}

}  // namespace

void check_named(const AxesOptions& axes, const std::string& ignored,
                 const std::set<std::string>& names) {
  for (const GivenAxis& given : axes.given) require_named("--axis", given.pattern, names);
  for (std::size_t begin = 0; begin < ignored.size();) {
    const std::size_t end = std::min(ignored.find(',', begin), ignored.size());
    const std::string part = ignored.substr(begin, end - begin);
    if (!part.empty()) require_named("--ignore", part, names);
    begin = end + 1;
  }
}

}  // namespace assay::verify
