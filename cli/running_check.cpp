#include "cli/running_check.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace assay::cli {
namespace {

constexpr int kWidth = 40;

void show_running(const std::string& text) {
  fmt::print(stderr, "\r{: <{}}\r{}", "", kWidth, text);
  std::fflush(stderr);
}

}  // namespace

RunningCheck::RunningCheck(bool quiet) : shown_(!quiet && isatty(STDERR_FILENO) != 0) {}

RunningCheck::~RunningCheck() {
  if (shown_) show_running("");
}

verify::Begins RunningCheck::begins() const {
  if (!shown_) return {};
  return [](const char* detector) { show_running(fmt::format("{} ..", detector)); };
}

}  // namespace assay::cli
