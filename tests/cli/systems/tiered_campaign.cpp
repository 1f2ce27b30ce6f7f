// tiered_campaign [CASES [SEED]]: the engine's tiered cache on the host executor beside the plain
// definition, random shapes, appends and reads. Prints the check; exit code 1 unless it passed.
#include <fmt/format.h>

#include <exception>
#include <string>

#include "tests/cli/systems/tiered_subject.h"
#include "verify/report/report.h"

int main(int count, char** words) try {
  const int64_t cases = count > 1 ? std::stoll(words[1]) : 500;
  const uint64_t seed = count > 2 ? std::stoull(words[2]) : 1;
  const assay::verify::Check check =
      assay::verify::check_tiered(assay::systems_test::engine_tiers, cases, seed);
  fmt::print("{}", assay::verify::check_text(check, false));
  return check.status == assay::verify::Status::pass ? 0 : 1;
} catch (const std::exception& error) {
  fmt::print("FAULT: {}\n", error.what());
  return 1;
}
