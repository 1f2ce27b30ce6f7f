// Feeds every parser inputs near to good ones. Whatever ends otherwise than by acceptance or
// InputError is a finding: it is printed, its input is written to a file, and the exit code is 1; a
// crash and an input that takes 20 s end the program by a signal.
//
//   parsers_fuzz [RUNS [SEED [TARGET]]]    default 2000 runs of each target, seed 1, all targets
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "tests/faults/fuzz/mutator.h"
#include "tests/faults/fuzz/targets.h"

namespace assay::fuzz {
namespace {

constexpr unsigned kHangSeconds = 20;
constexpr long kMostKept = 5;      // findings of a target that are shown
constexpr std::size_t kPool = 64;  // seeds and accepted inputs that are changed further

// For the handler of a signal: what is being parsed.
std::string current;
char finding[64] = "finding";

void keep_current() {
  const int file = ::open(finding, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0) return;
  if (::write(file, current.data(), current.size()) < 0) _exit(1);
  ::close(file);
}

void crashed(int number) {
  keep_current();
  ::signal(number, SIG_DFL);
  ::raise(number);
}

struct Counts {
  long accepted = 0, refused = 0, findings = 0;
  double slowest = 0;  // seconds
};

void run_one(const Target& target, const std::string& bytes, Counts& counts,
             std::vector<std::string>& pool, Mutator& mutator) {
  current = bytes;
  const auto start = std::chrono::steady_clock::now();
  ::alarm(kHangSeconds);
  try {
    const bool accepted = accepts(target, bytes);
    ++(accepted ? counts.accepted : counts.refused);
    if (accepted && pool.size() < kPool) {
      pool.push_back(bytes);
    } else if (accepted) {
      pool[mutator.place(pool.size())] = bytes;
    }
  } catch (const std::exception& error) {
    if (++counts.findings <= kMostKept) {
      fmt::print("{}: {}: {}\n", target.name, finding, error.what());
      keep_current();
    }
  }
  ::alarm(0);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  counts.slowest = std::max(counts.slowest, took.count());
}

long fuzz(const Target& target, long runs, uint64_t seed) {
  Counts counts;
  Mutator mutator(seed);
  std::vector<std::string> pool = target.seeds();
  for (const std::string& good : target.seeds()) {
    if (accepts(target, good)) continue;
    fmt::print("{}: a seed is refused: {}\n", target.name, good);
    ++counts.findings;
  }
  for (long n = 0; n < runs; ++n) {
    *fmt::format_to_n(finding, sizeof finding - 1, "finding-{}-{}-{}", target.name, seed, n).out =
        0;
    run_one(target, mutator.next(pool), counts, pool, mutator);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  fmt::print(
      "{:<12}{:>9} inputs {:>8} accepted {:>9} refused {:>3} findings, slowest {:.3f} s, peak {} "
      "MB\n",
      target.name, runs, counts.accepted, counts.refused, counts.findings, counts.slowest,
      usage.ru_maxrss >> 10);
  return counts.findings + (counts.accepted + counts.refused == 0 ? 1 : 0);
}

int run(int argc, char** argv) {
  for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM}) {
    ::signal(number, crashed);
  }
  const long runs = argc > 1 ? std::atol(argv[1]) : 2000;
  const uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  long findings = 0;
  for (const Target& target : targets()) {
    if (argc <= 3 || target.name == argv[3]) findings += fuzz(target, runs, seed);
  }
  return findings == 0 ? 0 : 1;
}

}  // namespace
}  // namespace assay::fuzz

int main(int argc, char** argv) { return assay::fuzz::run(argc, argv); }
