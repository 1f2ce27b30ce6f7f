#include "datasets/known/overlap.h"

#include <cmath>
#include <unordered_set>

namespace assay::datasets {
namespace {

constexpr uint64_t kBase = 0x9E3779B97F4A7C15;  // odd: the rolling hash is a polynomial modulo 2^64

uint64_t spread(uint64_t x) {  // the finaliser of splitmix64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// Calls use(row, hash) for every window.
template <class Use>
void each_window(std::span<const int32_t> tokens, int64_t positions, int64_t window, Use&& use) {
  if (positions < window || positions < 1 || window < 1) return;
  uint64_t first_power = 1;
  for (int64_t i = 1; i < window; ++i) first_power *= kBase;
  const auto rows = static_cast<int64_t>(tokens.size()) / positions;
  for (int64_t row = 0; row < rows; ++row) {
    uint64_t hash = 0;
    const int32_t* at = tokens.data() + row * positions;
    for (int64_t t = 0; t < positions; ++t) {
      const auto mixed = [&](int64_t i) { return spread(static_cast<uint64_t>(at[i]) + 1); };
      if (t >= window) hash -= mixed(t - window) * first_power;
      hash = hash * kBase + mixed(t);
      if (t + 1 >= window) use(row, spread(hash));
    }
  }
}

}  // namespace

std::vector<int64_t> overlapping_rows(std::span<const int32_t> tokens, int64_t positions,
                                      std::span<const int32_t> others, int64_t other_positions,
                                      int64_t window) {
  std::unordered_set<uint64_t> known;
  each_window(others, other_positions, window, [&](int64_t, uint64_t hash) { known.insert(hash); });
  std::vector<int64_t> shared;
  std::vector<uint64_t> own;  // of the row at hand, when a set is compared with itself
  int64_t at = -1;
  each_window(tokens, positions, window, [&](int64_t row, uint64_t hash) {
    if (row != at) {
      if (others.empty()) known.insert(own.begin(), own.end());
      own.clear();
      at = row;
    }
    own.push_back(hash);
    const bool is_listed = !shared.empty() && shared.back() == row;
    if (!is_listed && known.contains(hash)) shared.push_back(row);
  });
  return shared;
}

int64_t telling_window(double nats, double tokens, double others) {
  constexpr double kChance = 13.815510557964274;  // log 10^6
  const double pairs = std::log(std::max(tokens, 1.0)) + std::log(std::max(others, 1.0));
  if (!(nats > 1e-3)) return INT64_MAX;
  return static_cast<int64_t>(std::ceil((pairs + kChance) / nats)) + 1;
}

}  // namespace assay::datasets
