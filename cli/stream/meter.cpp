#include "cli/stream/meter.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

namespace assay::cli {
namespace {

constexpr std::size_t kStreamBarWidth = 30;
constexpr double kBarSeconds = 0.1, kLineSeconds = 10;

}  // namespace

void StreamLoss::score(std::span<const double> logits, int32_t label) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const double x : logits) total += std::exp(x - most);
  sum_ += most + std::log(total) - logits[static_cast<std::size_t>(label)];
  ++count_;
}

void StreamLoss::add(std::span<const int32_t> tokens, std::span<const double> logits) {
  const auto v = static_cast<std::size_t>(vocab_);
  const std::size_t given = logits.size() / v, first = tokens.size() - given;
  if (!last_.empty()) score(last_, tokens[0]);
  for (std::size_t i = 0; i + 1 < given; ++i) {
    score(logits.subspan(i * v, v), tokens[first + i + 1]);
  }
  last_.assign(logits.end() - static_cast<std::ptrdiff_t>(given == 0 ? 0 : v), logits.end());
}

int64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  int64_t all = 0, resident = 0;
  if (!(file >> all >> resident)) return 0;
  return resident * static_cast<int64_t>(sysconf(_SC_PAGESIZE));
}

StreamMeter::StreamMeter(int64_t every, bool quiet)
    : every_(every), quiet_(quiet), bar_(!quiet && isatty(STDERR_FILENO) != 0) {}

StreamMeter::~StreamMeter() { clear(); }

double StreamMeter::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void StreamMeter::clear() const {
  if (!bar_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
}

void StreamMeter::say(const StreamSample& now) const {
  if (quiet_) return;
  clear();
  fmt::print("{} tokens, loss {:.6f}, {:.0f} tokens/s, resident {:.1f} MB\n", now.tokens, now.loss,
             static_cast<double>(now.tokens) / now.seconds,
             static_cast<double>(now.resident_bytes) / 1e6);
  std::fflush(stdout);
}

void StreamMeter::draw(const StreamSample& now, double share) const {
  const auto filled =
      static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(kStreamBarWidth));
  const std::string bar =
      share < 0 ? std::string()
                : fmt::format("[{:=<{}}{: <{}}] ", "", filled, "", kStreamBarWidth - filled);
  fmt::print(stderr, "\r\x1b[K{}{} tokens, loss {:.4f}, {:.0f} tokens/s", bar, now.tokens, now.loss,
             static_cast<double>(now.tokens) / now.seconds);
  std::fflush(stderr);
}

void StreamMeter::advanced(int64_t tokens, double loss, double share) {
  StreamSample now{.tokens = tokens, .seconds = seconds(), .loss = loss, .resident_bytes = 0};
  if (every_ > 0 && tokens / every_ > sampled_) {
    sampled_ = tokens / every_;
    now.resident_bytes = resident_bytes();
    samples_.push_back(now);
    say(now);
    shown_at_ = now.seconds;
  }
  if (quiet_ || now.seconds - shown_at_ < (bar_ ? kBarSeconds : kLineSeconds)) return;
  shown_at_ = now.seconds;
  if (bar_) return draw(now, share);
  now.resident_bytes = resident_bytes();
  if (every_ == 0) say(now);
}

}  // namespace assay::cli
