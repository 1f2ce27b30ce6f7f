// Which check is running, on a terminal: detectors ask a slow program for minutes.
#pragma once

#include "verify/leakage/experiment.h"

namespace assay::cli {

// Shows it on standard error where that is a terminal, and takes it away when this ends.
class RunningCheck {
 public:
  explicit RunningCheck(bool quiet);
  ~RunningCheck();
  RunningCheck(const RunningCheck&) = delete;
  RunningCheck& operator=(const RunningCheck&) = delete;

  verify::Begins begins() const;

 private:
  bool shown_;
};

}  // namespace assay::cli
