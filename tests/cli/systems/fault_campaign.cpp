// fault_campaign [FAULTS [SEED]]: faults of every kind in turn, each drawn, in the midst of other
// requests and streams: reference, its rows filled up on the left, and the engine on the host, its
// cache by itself and in blocks.
// Prints each problem; exit code 1 where there was one.
#include <fmt/format.h>

#include <cstdlib>
#include <exception>
#include <map>
#include <string>

#include "tests/cli/systems/faults.h"

using namespace assay::systems_test;

int main(int count, char** words) try {
  const int64_t faults = count > 1 ? std::stoll(words[1]) : 500;
  const uint64_t seed = count > 2 ? std::stoull(words[2]) : 1;
  const auto &served = served_faults(), &streamed = streamed_faults();
  const std::size_t kinds = served.size() + streamed.size();
  const std::vector<std::string> backends{"reference", "simt", "reference:left",
                                          "simt:block=4:blocks=14"};
  std::map<std::string, int64_t> tried;
  int64_t problems = 0;
  for (int64_t n = 0; n < faults; ++n) {
    const std::size_t kind = static_cast<std::size_t>(n) % kinds;
    const bool of_server = kind < served.size();
    const std::string& name = of_server ? served[kind] : streamed[kind - served.size()];
    const std::string& backend = backends[static_cast<std::size_t>(n) / kinds % backends.size()];
    const uint64_t own = seed * 1000003 + static_cast<uint64_t>(n);
    std::string problem;
    try {
      problem = of_server ? problem_of_served(name, backend, own)
                          : problem_of_streamed(name, backend, own);
    } catch (const std::exception& error) {
      problem = fmt::format("ends with {}", error.what());
    }
    ++tried[name];
    if (problem.empty()) continue;
    ++problems;
    fmt::print("FAULT {}: {}, {}, seed {}: {}\n", n, name, backend, own, problem);
  }
  for (const auto& [name, times] : tried) fmt::print("{:>6} {}\n", times, name);
  fmt::print("{}: {} faults of {} kinds, {} problems\n", problems == 0 ? "pass" : "fail", faults,
             tried.size(), problems);
  return problems == 0 && faults > 0 ? 0 : 1;
} catch (const std::exception& error) {
  fmt::print("FAULT: {}\n", error.what());
  return 1;
}
