// Evidence as runs leave it: losses around an oracle, and curves.
#pragma once

#include <cmath>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "verify/training/judge.h"

namespace assay::verify::training {

inline std::ostream& operator<<(std::ostream& out, Verdict verdict) {
  return out << verdict_name(verdict);
}

inline constexpr int64_t kRows = 64, kPositions = 64;
inline constexpr double kOracle = 2.0;  // nats a token, on average

// Losses around an oracle that varies from token to token: `excess` above it on average.
inline TokenSet set_of(double excess, unsigned seed, double spread = 0.1) {
  std::mt19937_64 random(seed);
  std::exponential_distribution<double> surprise(1 / kOracle);
  std::normal_distribution<double> noise(0, spread);
  TokenSet set;
  set.path = "test";
  set.rows = kRows;
  set.positions = kPositions;
  for (int64_t i = 0; i < kRows * kPositions; ++i) {
    set.oracle.push_back(surprise(random));
    const double e = noise(random) + spread * spread / 2;  // E exp(-e) = 1
    set.losses.push_back(std::max(1e-4, set.oracle.back() + excess + e));
  }
  set.counted.assign(set.losses.size(), 1);
  set.loss_resolution = resolution_of(set.losses);
  return set;
}

inline Evidence three_sets(double train, double val, double fresh) {
  Evidence evidence;
  evidence.oracle = "test";
  evidence.rate = OracleRate{kOracle, 0, false};
  evidence.sets[kTrain] = set_of(train, 1);
  evidence.sets[kVal] = set_of(val, 2);
  evidence.sets[kFresh] = set_of(fresh, 3);
  return evidence;
}

inline Series series_of(std::vector<double> values) {
  Series series;
  for (std::size_t i = 0; i < values.size(); ++i) {
    series.add(10.0 * static_cast<double>(i + 1), values[i]);
  }
  return series;
}

// From `from` towards `to`, with noise.
inline std::vector<double> falling(double from, double to, int points, unsigned seed,
                                   double spread = 0.01) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> noise(0, spread);
  std::vector<double> values;
  for (int i = 0; i < points; ++i) {
    values.push_back(to + (from - to) * std::exp(-6.0 * i / points) + noise(random));
  }
  return values;
}

inline Evidence curves(std::vector<double> train, std::vector<double> val) {
  Evidence evidence;
  evidence.curve.format = "test";
  evidence.curve.train = series_of(std::move(train));
  evidence.curve.val = series_of(std::move(val));
  return evidence;
}

inline bool has_flag(const Judgement& judgement, Verdict verdict) {
  for (const Flag& flag : judgement.flags) {
    if (flag.verdict == verdict) return true;
  }
  return false;
}

inline bool has_note(const Judgement& judgement, const std::string& text) {
  for (const std::string& note : judgement.notes) {
    if (note.find(text) != std::string::npos) return true;
  }
  return false;
}

inline Verdict verdict_of(const Evidence& evidence) { return judge(evidence).verdict; }

}  // namespace assay::verify::training
