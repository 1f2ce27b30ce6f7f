#include "cli/train/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace assay::cli {
namespace {

constexpr std::size_t kTrainBarWidth = 30;

}  // namespace

TrainProgress::TrainProgress(int64_t first, int64_t last, bool quiet)
    : first_(first), last_(last), quiet_(quiet), bar_(!quiet && isatty(STDERR_FILENO) != 0) {}

TrainProgress::~TrainProgress() { clear(); }

double TrainProgress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

double TrainProgress::tokens_per_second() const {
  const double elapsed = seconds();
  return elapsed > 0 ? static_cast<double>(tokens_) / elapsed : 0;
}

void TrainProgress::clear() const {
  if (!bar_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

void TrainProgress::draw(int64_t step, double loss) const {
  const double share = static_cast<double>(step - first_) /
                       static_cast<double>(std::max<int64_t>(1, last_ - first_));
  const auto filled = static_cast<std::size_t>(
      static_cast<double>(kTrainBarWidth) * static_cast<double>(step) / static_cast<double>(last_));
  const double left = share > 0 ? seconds() * (1 - share) / share : 0;
  fmt::print(stderr,
             "\r\x1b[K[{:=<{}}{: <{}}] step {}/{}, loss {:.4f}, {:.0f} tokens/s, {:.0f} s left", "",
             filled, "", kTrainBarWidth - filled, step, last_, loss, tokens_per_second(), left);
  std::fflush(stderr);
}

void TrainProgress::stepped(int64_t step, double loss, int64_t tokens) {
  tokens_ += tokens;
  if (!bar_) return;
  const double now = seconds();
  if (step < last_ && now - drawn_at_ < 0.1) return;
  drawn_at_ = now;
  draw(step, loss);
}

void TrainProgress::say(const std::string& line) {
  if (quiet_) return;
  clear();
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

}  // namespace assay::cli
