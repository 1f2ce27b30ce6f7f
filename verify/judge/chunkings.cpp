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

std::string through(const Cache& cache) {
  return cache.name.empty() ? "" : " through " + cache.name;
}

}  // namespace

// What a window leaves of a prompt longer than it is looked at from each of the positions behind.
Chunking behind_a_prompt(int64_t B, int64_t T, int64_t seen, const Cache& cache) {
  constexpr int64_t kSteps = 8;
  const int64_t prompt = std::min(std::max(T - std::min(kSteps, T / 2), seen + 1), T - 1);
  const int64_t largest = cache.piece == 0 ? prompt : cache.piece;
  Chunking chunking{
      fmt::format("behind a prompt of {}{}", prompt, through(cache)), {}, cache.piece};
  for (int64_t read = 0; read < prompt; read += largest) {
    chunking.steps.push_back(alike(B, std::min(largest, prompt - read)));
  }
  chunking.steps.insert(chunking.steps.end(), static_cast<std::size_t>(T - prompt), alike(B, 1));
  return chunking;
}

// A short prompt, then 1, 1, 2, 3, 5, 8, .. positions, and the last ones by themselves. Of ragged
// rows one in three sits out a step, another one each time, and every other one takes one more.
Chunking uneven_pieces(int64_t B, int64_t T, bool ragged, const Cache& cache) {
  constexpr int64_t kAlone = 4, kPrompt = 5;
  const int64_t largest = cache.piece == 0 ? T : cache.piece;
  Chunking chunking{"in uneven pieces" + through(cache), {}, cache.piece};
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

std::vector<Chunking> chunkings(int64_t B, int64_t T, int64_t seen, bool ragged, bool all) {
  std::vector<Chunking> list;
  if (all || T <= kShortSequence) {
    list.push_back(
        {"one by one", std::vector<Counts>(static_cast<std::size_t>(T), alike(B, 1)), 0});
  }
  if (T > 2) list.push_back(behind_a_prompt(B, T, seen));
  if (T > 1) list.push_back(uneven_pieces(B, T, ragged));
  return list;
}

}  // namespace assay::verify
