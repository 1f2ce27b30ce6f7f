// Loops over the tokens of a set that count. Internal.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "verify/training/finding.h"

namespace assay::verify::training {

// Of counted tokens, those for which `is_bad` holds.
template <class IsBad>
int64_t count_tokens(const TokenSet& set, IsBad&& is_bad) {
  int64_t bad = 0;
  for (std::size_t i = 0; i < set.size(); ++i) bad += set.is_counted(i) && is_bad(i) ? 1 : 0;
  return bad;
}

inline int64_t counted_tokens(const TokenSet& set) {
  return count_tokens(set, [](std::size_t) { return true; });
}

inline bool is_finite(const TokenSet& set) {
  return count_tokens(set, [&](std::size_t i) { return !std::isfinite(set.losses[i]); }) == 0;
}

inline bool all_empty(const Evidence& evidence) {
  return std::all_of(evidence.sets.begin(), evidence.sets.end(),
                     [](const TokenSet& set) { return set.empty() && !set.logits; });
}

inline Finding no_tokens(std::string name, std::string limit) {
  return {std::move(name), State::not_run, "no per-token losses", std::move(limit), {}, ""};
}

}  // namespace assay::verify::training
