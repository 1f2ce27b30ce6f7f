// Every kernel on the GPU against plain double loops, in every storage type: the cases and bounds
// of tests/cuda_impl/kernels. Each runs twice and has to give the same bits.
//
//   kernels_check [--only KERNEL] [--json FILE]
//
// Exit codes: 0 all passed; 1 a failure, or nothing was checked; 2 usage; 77 no CUDA device.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cuda_impl/kernels/cases.h"

namespace {

using namespace assay::kernel_test;
using nlohmann::ordered_json;

struct Counts {
  int passed = 0, failed = 0;
  ordered_json failures = ordered_json::array();
};

// Why the case fails, or "".
std::string fault_of(const Case& c) {
  const Values got = c.run(), again = c.run();
  const std::vector<Expected> expected = c.expect();
  if (got.empty() || got.size() != expected.size()) {
    return fmt::format("expected {} values, got {}", expected.size(), got.size());
  }
  if (std::memcmp(got.data(), again.data(), got.size() * sizeof(double)) != 0) {
    return "two runs differ";
  }
  const auto outside = [&](std::size_t i) {
    return !(got[i] == expected[i].value ||
             std::fabs(got[i] - expected[i].value) <= expected[i].bound);
  };
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!outside(i)) continue;
    return fmt::format("element {} of {}: expected {:.9g} +- {:.3g}, got {:.9g}", i, got.size(),
                       expected[i].value, expected[i].bound, got[i]);
  }
  return "";
}

std::string told(const Case& c) {
  try {
    return fault_of(c);
  } catch (const std::exception& error) {
    return error.what();
  }
}

template <class S>
void check_all(const char* precision, const std::string& only, Counts& counts) {
  for (const Case& c : all_cases<S>()) {
    if (!only.empty() && c.kernel != only) continue;
    const std::string fault = told(c);
    ++(fault.empty() ? counts.passed : counts.failed);
    if (fault.empty()) continue;
    const std::string name = fmt::format("{} {} {}", precision, c.kernel, c.shape);
    fmt::print("FAIL     {}: {}\n", name, fault);
    counts.failures.push_back({{"case", name}, {"why", fault}});
  }
}

int run(const std::string& only, const std::string& json_path) {
  if (const std::string reason = simt::unavailable(); !reason.empty()) {
    fmt::print(stderr, "kernels_check: no CUDA device: {}; nothing was checked\n", reason);
    return 77;
  }
  Counts counts;
  check_all<float>("fp32", only, counts);
  check_all<simt::bf16>("bf16", only, counts);
  check_all<simt::f16>("fp16", only, counts);
  const int code = counts.failed > 0 || counts.passed == 0 ? 1 : 0;
  fmt::print("kernels: {} cases passed, {} failed\n", counts.passed, counts.failed);
  if (!json_path.empty()) {
    std::ofstream(json_path) << ordered_json{{"assay_kernels_check", 1},
                                             {"exit_code", code},
                                             {"passed", counts.passed},
                                             {"failed", counts.failed},
                                             {"failures", counts.failures}}
                                    .dump(1)
                             << "\n";
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  std::string only, json_path;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--only") == 0) only = argv[i + 1];
    if (std::strcmp(argv[i], "--json") == 0) json_path = argv[i + 1];
  }
  if (argc != 1 + 2 * (!only.empty() + !json_path.empty())) {
    fmt::print(stderr, "usage: kernels_check [--only KERNEL] [--json FILE]\n");
    return 2;
  }
  return run(only, json_path);
}
