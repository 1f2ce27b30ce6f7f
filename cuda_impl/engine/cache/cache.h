// What decoding keeps of the positions it has read: [B,R] of them, or blocks.
#pragma once

#include <vector>

#include "cuda_impl/engine/cache/cache_arrays.h"
#include "cuda_impl/engine/weights/parts.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Every layer's keys and values; methods 1 to 4 hold the values of every pair j < l besides,
// methods 5.1D, 5.1E and D-base the coefficients of every position. A position takes
//   (L + L (+ L(L-1)/2)) Hkv Dh scalars of S (+ L L of accum_t<S>) and a byte.
// Dynamic windows take 2 L of accum_t<S> more: the extremes up to each position.
// B below is the number of blocks where there are some, and R their positions.
template <class S>
struct Cache : CacheArrays<Cache<S>> {
  using A = accum_t<S>;

  Cache(const Parts<S>& parts, const CacheExtent& extent);

  // With stacked recomputes, of all j < l: [B,l*Hkv,R,Dh].
  const View<S, 4>& recompute_v_stack(int64_t l) const {
    return recompute_values[static_cast<std::size_t>(l - 1)];
  }
  const View<S, 4>& recompute_v(int64_t l, int64_t j) const {  // j < l
    return recompute_values[static_cast<std::size_t>(l * (l - 1) / 2 + j)];
  }
  // Of a sequence of `length` positions.
  bool copy_prefix(int64_t from, int64_t to, int64_t count, int64_t length) {
    return this->share_rows(from, to, count, length);
  }
  const S* const* k_table() const { return k_table_.get(); }  // device table [L]

  std::vector<View<S, 4>> k, v;              // [L] of [B,Hkv,R,Dh]
  std::vector<View<S, 4>> recompute_values;  // [L(L-1)/2] of the same; stacked [L-1]
  std::vector<View<A, 4>> factors;           // [L] of [B,1,R,outputs]
  std::vector<View<A, 4>> extremes;          // [L] of [B,1,R,2], none without dynamic windows

 private:
  friend class CacheArrays<Cache<S>>;
  void carve(Carver& carver, int64_t blocks, int64_t rows);
  template <class Use>
  void for_arrays(const Use& use) {
    for (auto* arrays : {&k, &v, &recompute_values}) {
      for (View<S, 4>& array : *arrays) use(array);
    }
    for (auto* arrays : {&factors, &extremes}) {
      for (View<A, 4>& array : *arrays) use(array);
    }
  }
  void moved();

  const Parts<S>& parts_;
  simt::Buffer<const S*> k_table_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
