// A set of sources, numbered from 0: where a number came from.
#pragma once

#include <cstdint>

namespace assay::simt {

inline constexpr int kMaxSources = 128;

// Without a default value, so that memory nobody wrote (all bits set) comes from everywhere.
struct SourceSet {
  std::uint64_t words[kMaxSources / 64];

  // 0 <= source < kMaxSources
  constexpr void add(int source) { words[source / 64] |= std::uint64_t{1} << source % 64; }
  constexpr bool contains(int source) const { return (words[source / 64] >> source % 64 & 1) != 0; }
  constexpr bool operator==(const SourceSet&) const = default;
  friend constexpr SourceSet operator|(SourceSet a, const SourceSet& b) {
    for (int i = 0; i < kMaxSources / 64; ++i) a.words[i] |= b.words[i];
    return a;
  }
};

}  // namespace assay::simt
