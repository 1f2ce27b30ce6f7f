// stream_campaign [CASES [SEED [FIRST]]]: random streams beside forward passes over whole
// sequences, bit for bit. Prints the cases that differ and "pass: N cases, M logits" or
// "FAULT: ..", with exit code 1.
#include <fmt/format.h>

#include <exception>
#include <set>
#include <string>

#include "tests/reference/streaming/stream_case.h"

using namespace assay::reference::testing;

namespace {

// What is wrong with a case, "" if nothing is; adds the logits that were compared.
std::string fault_of(const StreamCase& one, uint64_t cuts, bool again, std::size_t& logits) try {
  const auto whole = whole_passes(one);
  for (const auto& sequence : whole) logits += sequence.size();
  return difference(one, whole, streamed(one, cuts, again));
} catch (const std::exception& error) {
  return error.what();
}

}  // namespace

int main(int count, char** words) try {
  const int64_t cases = count > 1 ? std::stoll(words[1]) : 500;
  const uint64_t seed = count > 2 ? std::stoull(words[2]) : 1;
  const int64_t first = count > 3 ? std::stoll(words[3]) : 0;
  int64_t differ = 0;
  std::size_t logits = 0;
  std::set<std::string> methods;
  for (int64_t i = first; i < first + cases; ++i) {
    const StreamCase one = stream_case(seed, i);
    methods.insert(one.config.method);
    const std::string fault = fault_of(one, seed + 17, i % 3 == 0, logits);
    if (fault.empty()) continue;
    if (++differ <= 5) fmt::print("FAULT: case {} ({}): {}\n", i, one.title(), fault);
  }
  if (differ > 0) {
    fmt::print("FAULT: {} of {} cases differ\n", differ, cases);
    return 1;
  }
  if (cases < 1 || logits == 0) {
    fmt::print("FAULT: nothing was compared\n");
    return 1;
  }
  fmt::print("pass: {} cases, {} logits, {} methods\n", cases, logits, methods.size());
  return 0;
} catch (const std::exception& error) {
  fmt::print("FAULT: {}\n", error.what());
  return 1;
}
