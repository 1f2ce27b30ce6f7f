// The mean of numbers that come one by one:  mean_n = mean_{n-1} + (x_n - mean_{n-1}) / n.
// Source: B. P. Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products",
// Technometrics 4 (1962).
#pragma once

#include <algorithm>
#include <cstdint>

namespace assay::serving {

class RunningMean {
 public:
  void add(double x) {
    ++count_;
    mean_ += (x - mean_) / static_cast<double>(count_);
    smallest_ = count_ == 1 ? x : std::min(smallest_, x);
    largest_ = count_ == 1 ? x : std::max(largest_, x);
  }
  int64_t count() const { return count_; }
  double mean() const { return mean_; }  // 0 of no numbers, and so the next two
  double smallest() const { return smallest_; }
  double largest() const { return largest_; }

 private:
  int64_t count_ = 0;
  double mean_ = 0, smallest_ = 0, largest_ = 0;
};

}  // namespace assay::serving
