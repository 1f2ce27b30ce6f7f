// How a training run tells where it is: a bar on a terminal, lines elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace assay::cli {

class TrainProgress {
 public:
  // From step `first` (steps done before) to step `last`.
  TrainProgress(int64_t first, int64_t last, bool quiet);
  ~TrainProgress();
  TrainProgress(const TrainProgress&) = delete;
  TrainProgress& operator=(const TrainProgress&) = delete;

  void stepped(int64_t step, double loss, int64_t tokens);
  // A line that stays, above the bar.
  void say(const std::string& line);
  double seconds() const;
  double tokens_per_second() const;

 private:
  void clear() const;
  void draw(int64_t step, double loss) const;

  int64_t first_, last_, tokens_ = 0;
  bool quiet_, bar_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double drawn_at_ = -1;
};

}  // namespace assay::cli
