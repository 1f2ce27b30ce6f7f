// What decoding keeps of the positions it has read: [B,R] of them, in one arena.
#pragma once

#include <vector>

#include "cuda_impl/engine/cache/cache_places.h"
#include "cuda_impl/engine/weights/parts.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Every layer's keys and values; methods 1 to 4 hold the values of every pair j < l besides,
// methods 5.1D, 5.1E and D-base the coefficients of every position. A position takes
//   (L + L (+ L(L-1)/2)) Hkv Dh scalars of S (+ L L of accum_t<S>) and a byte.
// Dynamic windows take 2 L of accum_t<S> more: the extremes up to each position.
template <class S>
struct Cache : CachePlaces {
  using A = accum_t<S>;

  Cache(const Parts<S>& parts, int64_t B, const CacheExtent& extent);

  // With stacked recomputes, of all j < l: [B,l*Hkv,R,Dh].
  const View<S, 4>& recompute_v_stack(int64_t l) const {
    return recompute_values[static_cast<std::size_t>(l - 1)];
  }
  const View<S, 4>& recompute_v(int64_t l, int64_t j) const {  // j < l
    return recompute_values[static_cast<std::size_t>(l * (l - 1) / 2 + j)];
  }
  void place(std::span<const int64_t> lengths, const Chunk& chunk) const {
    CachePlaces::place(lengths, chunk, queue_);
  }
  // Of a sequence of `length` positions.
  bool copy_prefix(int64_t from, int64_t to, int64_t count, int64_t length);
  int64_t bytes() const { return static_cast<int64_t>(arena_.bytes()); }

  std::vector<View<S, 4>> k, v;              // [L] of [B,Hkv,R,Dh]
  std::vector<View<S, 4>> recompute_values;  // [L(L-1)/2] of the same; stacked [L-1]
  std::vector<View<A, 4>> factors;           // [L] of [B,1,R,outputs]
  std::vector<View<A, 4>> extremes;          // [L] of [B,1,R,2], none without dynamic windows
  const S** k_table = nullptr;               // device table [L]

 private:
  void carve(Carver& carver, const Parts<S>& parts, int64_t B, int64_t R);

  const Stream queue_;
  Arena arena_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
