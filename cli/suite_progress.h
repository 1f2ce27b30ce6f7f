// A line for every case that ended, and on a terminal below them a bar with the time left.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace assay::cli {

class SuiteProgress {
 public:
  // cases: how many there are. quiet: nothing is printed.
  SuiteProgress(std::size_t cases, bool quiet);
  ~SuiteProgress();
  SuiteProgress(const SuiteProgress&) = delete;
  SuiteProgress& operator=(const SuiteProgress&) = delete;

  // Of all work, in any unit, work_done is done once this case has ended.
  void ended(const std::string& line, uint64_t work_done, uint64_t work_total);
  double seconds() const;

 private:
  void clear() const;

  std::size_t cases_, done_ = 0;
  bool quiet_, bar_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace assay::cli
