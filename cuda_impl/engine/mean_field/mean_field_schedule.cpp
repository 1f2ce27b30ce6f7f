#include "cuda_impl/engine/mean_field/mean_field_schedule.h"

#include <algorithm>
#include <climits>
#include <cmath>

namespace assay::cuda {
inline namespace SIMT_BACKEND {

int64_t MeanFieldSchedule::updates(int64_t n, int64_t g) const {
  int64_t count = 0;
  for (int64_t round = 1; round <= n; ++round) count += is_updated(round, g);
  return count;
}

int64_t MeanFieldSchedule::updates_heard(int64_t n, int64_t g) const {
  return updates(sync() ? n - 1 : n, g);
}

double MeanFieldSchedule::share(int64_t i, int64_t n, int64_t g) const {
  const int64_t later = updates_heard(n, g) - 1 - i;
  if (!takes_part(n, g) || later < 0) return 0;
  if (!stepped()) return later == 0 ? 1 : 0;
  return pt.head_step * std::pow(1 - pt.head_step, static_cast<double>(later));
}

std::vector<int32_t> MeanFieldSchedule::offsets() const {
  constexpr int32_t kFar = INT_MAX;
  const int32_t nearest_behind = pt.causal_heads ? -1 : kFar;
  if (!pt.distances) return {-kFar, nearest_behind};
  std::vector<int32_t> starts{1};  // of the groups' distances
  for (const int64_t start : *pt.distances) {
    starts.push_back(static_cast<int32_t>(std::min<int64_t>(start, kFar)));
  }
  std::vector<int32_t> before, behind;
  for (std::size_t j = 0; j < starts.size(); ++j) {
    const int32_t last = j + 1 < starts.size() ? starts[j + 1] - 1 : kFar;
    before.insert(before.end(), {-last, -starts[j]});
    behind.insert(behind.end(), {starts[j], last});
  }
  if (!pt.causal_heads) before.insert(before.end(), behind.begin(), behind.end());
  return before;
}

std::vector<double> MeanFieldSchedule::even_heads(std::span<const uint8_t> padding_mask,
                                                  std::span<const int64_t> before) const {
  const std::size_t T = padding_mask.size() / before.size();
  const std::size_t reach = window == 0 ? T : static_cast<std::size_t>(window) / 2;
  std::vector<double> even;
  for (std::size_t b = 0; b < before.size(); ++b) {
    const auto row = padding_mask.subspan(b * T, T);
    std::vector<int64_t> words{before[b]};  // ahead of each position, and of the end
    for (const uint8_t word : row) words.push_back(words.back() + word);
    for (std::size_t t = 0; t < T; ++t) {
      const std::size_t end = T - t > reach ? t + reach + 1 : T;
      const int64_t out_of_reach = t > reach ? words[t - reach] : 0;
      const int64_t others = pt.causal_heads ? words[t] : words[end] - out_of_reach - 1;
      even.push_back(row[t] == 0 || others == 0 ? 0.0 : 1 / static_cast<double>(others));
    }
  }
  return even;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
