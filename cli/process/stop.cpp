#include "cli/process/stop.h"

#include <unistd.h>

#include <cstddef>

namespace assay::cli {
namespace {

volatile std::sig_atomic_t asked_by = 0;

}  // namespace

int stop_signal() { return asked_by; }

StopOnSignals::StopOnSignals() {
  asked_by = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    struct sigaction action {};
    action.sa_handler = [](int number) {
      if (asked_by != 0) _exit(128 + number);
      asked_by = number;
    };
    action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
    sigaction(kNumbers[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) sigaction(kNumbers[i], &action, nullptr);
  }
}

StopOnSignals::~StopOnSignals() {
  for (std::size_t i = 0; i < 3; ++i) sigaction(kNumbers[i], &before_[i], nullptr);
}

}  // namespace assay::cli
