// What a stream of tokens is measured by: loss, rate, memory; a bar on a terminal, lines elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace assay::cli {

// Cross-entropy of each token given those before it, in nats; logits of a position wait for the
// next token.
class StreamLoss {
 public:
  explicit StreamLoss(int64_t vocab_size) : vocab_(vocab_size) {}

  // The next tokens, and the logits [k,V] of the last k of them.
  void add(std::span<const int32_t> tokens, std::span<const double> logits);

  int64_t predictions() const { return count_; }
  double mean() const { return sum_ / static_cast<double>(count_); }  // NaN without any

 private:
  void score(std::span<const double> logits, int32_t label);

  int64_t vocab_, count_ = 0;
  double sum_ = 0;
  std::vector<double> last_;  // logits [V] of the newest position; empty if nobody gave them
};

struct StreamSample {
  int64_t tokens = 0;
  double seconds = 0, loss = 0;
  int64_t resident_bytes = 0;  // of the process
};

// Bytes of the process in physical memory; 0 where the system does not tell.
int64_t resident_bytes();

class StreamMeter {
 public:
  // every: tokens between two samples, 0 for none. In a log a line each sample, or each 10 s.
  StreamMeter(int64_t every, bool quiet);
  ~StreamMeter();
  StreamMeter(const StreamMeter&) = delete;
  StreamMeter& operator=(const StreamMeter&) = delete;

  // share: of the input that has been read, below 0 where its length is not known.
  void advanced(int64_t tokens, double loss, double share);
  double seconds() const;
  const std::vector<StreamSample>& samples() const { return samples_; }

 private:
  void clear() const;
  void say(const StreamSample& now) const;
  void draw(const StreamSample& now, double share) const;

  int64_t every_, sampled_ = 0;
  bool quiet_, bar_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double shown_at_ = 0;
  std::vector<StreamSample> samples_;
};

}  // namespace assay::cli
