#include "verify/judge/chunkings.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace assay::verify {
namespace {

using Counts = std::vector<int32_t>;

Counts alike(int64_t B, int64_t count) {
  return Counts(static_cast<std::size_t>(B), static_cast<int32_t>(count));
}

Chunking behind_a_prompt(int64_t B, int64_t T, int64_t prompt) {
  Chunking chunking{fmt::format("behind a prompt of {}", prompt), {alike(B, prompt)}, 0};
  chunking.steps.insert(chunking.steps.end(), static_cast<std::size_t>(T - prompt), alike(B, 1));
  return chunking;
}

}  // namespace

// A short prompt, then 1, 1, 2, 3, 5, 8, .. positions, and the last ones by themselves. Of ragged
// rows one in three sits out a step, another one each time, and every other one takes one more.
Chunking uneven_pieces(int64_t B, int64_t T, bool ragged, const Cache& cache) {
  constexpr int64_t kAlone = 4, kPrompt = 5;
  const int64_t largest = cache.piece == 0 ? T : cache.piece;
  Chunking chunking{"in uneven pieces", {}, cache.piece};
  if (!cache.name.empty()) chunking.what += " through " + cache.name;
  std::vector<int64_t> left(static_cast<std::size_t>(B), T);
  int64_t size = std::clamp<int64_t>(T / 4, 1, kPrompt), next = 1, later = 1;
  for (int64_t step = 0; std::any_of(left.begin(), left.end(), [](int64_t n) { return n > 0; });
       ++step) {
    Counts counts = alike(B, 0);
    for (std::size_t b = 0; b < left.size(); ++b) {
      const bool sits_out = ragged && (step + static_cast<int64_t>(b)) % 3 == 2;
      if (left[b] == 0 || sits_out) continue;
      const int64_t most = std::min(largest, size + (ragged ? static_cast<int64_t>(b) % 2 : 0));
      counts[b] = static_cast<int32_t>(std::clamp<int64_t>(left[b] - kAlone, 1, most));
      left[b] -= counts[b];
    }
    size = std::exchange(next, later);
    later = size + next;
    if (size > 2 * largest) size = next = later = 1;
    const bool any = std::any_of(counts.begin(), counts.end(), [](int32_t n) { return n > 0; });
    if (any) chunking.steps.push_back(std::move(counts));
  }
  return chunking;
}

std::vector<Chunking> chunkings(int64_t B, int64_t T, bool ragged, bool all) {
  std::vector<Chunking> list;
  if (all || T <= kShortSequence) {
    constexpr int64_t kSteps = 8;
    list.push_back(
        {"one by one", std::vector<Counts>(static_cast<std::size_t>(T), alike(B, 1)), 0});
    const int64_t prompt = T - std::min(kSteps, T / 2);
    if (prompt > 1) list.push_back(behind_a_prompt(B, T, prompt));
  }
  if (T > 1) list.push_back(uneven_pieces(B, T, ragged));
  return list;
}

}  // namespace assay::verify
