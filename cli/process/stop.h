// Work that ends early, with what it has so far, where somebody asks for it.
#pragma once

#include <csignal>

namespace assay::cli {

// While it lives, the first Ctrl-C (or SIGTERM, SIGHUP) asks to stop; another one ends at once.
class StopOnSignals {
 public:
  StopOnSignals();
  ~StopOnSignals();
  StopOnSignals(const StopOnSignals&) = delete;
  StopOnSignals& operator=(const StopOnSignals&) = delete;

 private:
  static constexpr int kNumbers[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[3];
};

int stop_signal();  // which one asked; 0: none

}  // namespace assay::cli
