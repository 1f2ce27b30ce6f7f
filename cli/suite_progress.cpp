#include "cli/suite_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace assay::cli {
namespace {

constexpr std::size_t kBarWidth = 40;

}  // namespace

SuiteProgress::SuiteProgress(std::size_t cases, bool quiet)
    : cases_(cases), quiet_(quiet), bar_(!quiet && isatty(STDERR_FILENO) != 0) {}

SuiteProgress::~SuiteProgress() { clear(); }

double SuiteProgress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void SuiteProgress::clear() const {
  if (!bar_) return;
  fmt::print(stderr, "\r{: <{}}\r", "", kBarWidth + 39);
  std::fflush(stderr);
}

void SuiteProgress::ended(const std::string& line, uint64_t work_done, uint64_t work_total) {
  ++done_;
  if (quiet_) return;
  clear();
  fmt::print("{}\n", line);
  std::fflush(stdout);
  if (!bar_) return;
  const double share =
      work_total == 0 ? 1 : static_cast<double>(work_done) / static_cast<double>(work_total);
  const auto filled = static_cast<std::size_t>(share * kBarWidth);
  const double left = share > 0 ? seconds() * (1 - share) / share : 0;
  fmt::print(stderr, "\r[{:=<{}}{: <{}}] {}/{} cases, {:.0f} s left", "", filled, "",
             kBarWidth - filled, done_, cases_, left);
  std::fflush(stderr);
}

}  // namespace assay::cli
