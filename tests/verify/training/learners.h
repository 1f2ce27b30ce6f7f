// Simulated learners on tokens of known probability, for tests and benchmarks of the code-length
// test. The legitimate ones are causal, normalised and see each token after it was predicted.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "verify/training/code_length.h"

namespace assay::verify::training::learners {

enum class Kind { kt, smoothed, tilted, near_oracle };
inline constexpr Kind kKinds[] = {Kind::kt, Kind::smoothed, Kind::tilted, Kind::near_oracle};

// Tokens of a chain of order 1 over V symbols with drawn rows; sum over rows of `positions` tokens.
class Chain {
 public:
  Chain(int vocab, std::mt19937_64& random)
      : vocab_(vocab), p_(static_cast<std::size_t>(vocab * vocab)) {
    std::exponential_distribution<double> draw;
    for (int row = 0; row < vocab; ++row) {
      double sum = 0;
      for (int v = 0; v < vocab; ++v) sum += at(row, v) = draw(random) + 0.02;
      for (int v = 0; v < vocab; ++v) at(row, v) /= sum;
    }
  }
  double& at(int row, int v) { return p_[static_cast<std::size_t>(row * vocab_ + v)]; }
  double at(int row, int v) const { return p_[static_cast<std::size_t>(row * vocab_ + v)]; }
  int next(int row, std::mt19937_64& random) const {
    double u = std::uniform_real_distribution<double>()(random);
    for (int v = 0; v < vocab_; ++v) {
      u -= at(row, v);
      if (u < 0) return v;
    }
    return vocab_ - 1;
  }
  int vocab() const { return vocab_; }

 private:
  int vocab_;
  std::vector<double> p_;
};

// The largest log e-value that a learner reached over `tokens` tokens of such a chain.
//   kt           counts of pairs, with half a count beforehand
//   smoothed     the same with eight counts, mixed with the uniform law
//   tilted       the truth to the power 1.2, or 0.8, normalised
//   near_oracle  the truth, each probability moved by three hundredths
inline double highest_log_e(Kind kind, int vocab, int64_t tokens, int64_t positions,
                            std::mt19937_64& random) {
  const Chain truth(vocab, random);
  Chain model = truth;
  std::vector<double> counts(static_cast<std::size_t>(vocab * vocab), 0.0),
      seen(static_cast<std::size_t>(vocab), 0.0);
  const double power = random() % 2 == 0 ? 1.2 : 0.8;
  if (kind == Kind::tilted || kind == Kind::near_oracle) {
    std::normal_distribution<double> noise(0, 0.03);
    for (int row = 0; row < vocab; ++row) {
      double sum = 0;
      for (int v = 0; v < vocab; ++v) {
        const double p = truth.at(row, v);
        sum += model.at(row, v) =
            kind == Kind::tilted ? std::pow(p, power) : p * std::exp(noise(random));
      }
      for (int v = 0; v < vocab; ++v) model.at(row, v) /= sum;
    }
  }
  CodeLengthTest test(positions, tokens / positions);
  int before = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    const int token = truth.next(before, random);
    const auto pair = static_cast<std::size_t>(before * vocab + token);
    const auto context = static_cast<std::size_t>(before);
    double q = model.at(before, token);
    if (kind == Kind::kt) q = (counts[pair] + 0.5) / (seen[context] + 0.5 * vocab);
    if (kind == Kind::smoothed) {
      q = 0.9 * (counts[pair] + 8) / (seen[context] + 8 * vocab) + 0.1 / vocab;
    }
    test.add(t % positions, t / positions, std::log(q / truth.at(before, token)));
    counts[pair] += 1;
    seen[context] += 1;
    before = token;
  }
  return test.log_e();
}

// Tokens until log e reaches log(1/a) for a model that sees the answer with probability `leak` on
// `symbols` uniform ones; elsewhere than at position `at` modulo 64 it loses `loss`, if at >= 0.
inline int64_t tokens_to_alarm(double leak, int symbols, double alpha, int at, double loss) {
  constexpr int64_t kPositions = 256;
  CodeLengthTest test(kPositions, 1);
  for (int64_t t = 0; t < 1000000; ++t) {
    const bool leaks = at < 0 || t % 64 == at;
    const double q = leaks ? (1 - leak) / symbols + leak : std::exp(-loss) / symbols;
    test.add(t % kPositions, 0, std::log(q * symbols));
    if (test.log_e() >= std::log(1 / alpha)) return t + 1;
  }
  return -1;
}

}  // namespace assay::verify::training::learners
