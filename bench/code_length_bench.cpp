// How often legitimate learners set off the code-length test, and how soon leaks do.
//
//   build/release/bench/code_length_bench [RUNS [TOKENS]]     default 20000 5000
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tests/verify/training/learners.h"

namespace {

namespace learners = assay::verify::training::learners;

const char* name_of(learners::Kind kind) {
  switch (kind) {
    case learners::Kind::kt:
      return "KT";
    case learners::Kind::smoothed:
      return "smoothed";
    case learners::Kind::tilted:
      return "mis-tilted";
    case learners::Kind::near_oracle:
      return "near-oracle";
  }
  return "";
}

void false_alarms(int runs, int64_t tokens) {
  constexpr double kAlphas[] = {0.1, 0.01, 0.001};
  fmt::print("{} runs of {} tokens a learner\n{:<14}{:>10}{:>10}{:>10}\n", runs, tokens,
             "alarms at a =", kAlphas[0], kAlphas[1], kAlphas[2]);
  for (const learners::Kind kind : learners::kKinds) {
    std::mt19937_64 random(1);
    int alarms[3] = {0, 0, 0};
    for (int run = 0; run < runs; ++run) {
      const double log_e = learners::highest_log_e(kind, 8, tokens, 128, random);
      for (int i = 0; i < 3; ++i) alarms[i] += log_e >= std::log(1 / kAlphas[i]) ? 1 : 0;
    }
    fmt::print("{:<14}{:>10.5f}{:>10.5f}{:>10.5f}\n", name_of(kind), 1.0 * alarms[0] / runs,
               1.0 * alarms[1] / runs, 1.0 * alarms[2] / runs);
  }
}

void power() {
  fmt::print("\ntokens to 1e-6 on 256 uniform symbols, strata included\n");
  for (const double leak : {1.0, 0.1, 0.01}) {
    fmt::print("  leak of {:>5}            {}\n", leak,
               learners::tokens_to_alarm(leak, 256, 1e-6, -1, 0));
  }
  fmt::print("  0.01 at 1 position in 64, the rest loses 0.02 nats: {}\n",
             learners::tokens_to_alarm(0.01, 256, 1e-6, 17, 0.02));
}

}  // namespace

int main(int argc, char** argv) {
  false_alarms(argc > 1 ? std::atoi(argv[1]) : 20000, argc > 2 ? std::atoll(argv[2]) : 5000);
  power();
  return 0;
}
