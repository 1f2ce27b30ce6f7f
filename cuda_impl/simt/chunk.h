// 16 bytes, or two neighbours, moved by one instruction whatever the type of the memory.
#pragma once
#include "cuda_impl/simt/simt.h"

#if SIMT_ON_HOST
#define SIMT_ANY_TYPE [[gnu::may_alias]]
#else
#define SIMT_ANY_TYPE
#endif

namespace assay::simt {
inline namespace SIMT_BACKEND {

struct SIMT_ANY_TYPE alignas(16) Chunk {
  std::uint32_t word[4];
};
template <class T>
struct SIMT_ANY_TYPE alignas(2 * sizeof(T)) Pair {
  T even, odd;
};

SIMT_HD bool is_aligned(const void* memory, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(memory) % bytes == 0;
}

// The memory must be aligned to sizeof(V): UBSan checks it on the host, the hardware on the device.
template <class V, class T>
SIMT_HD V load_as(const T* from) {
  return *reinterpret_cast<const V*>(from);
}
template <class V, class T>
SIMT_HD void store_as(T* to, const V& value) {
  *reinterpret_cast<V*>(to) = value;
}

// 8 neighbours of a 16-bit type, wherever they lie; at a multiple of 16 bytes by one instruction.
template <class S>
SIMT_HD Chunk load_chunk(const S* from) {
  if (is_aligned(from, sizeof(Chunk))) return load_as<Chunk>(from);
  Chunk chunk;
  for (int i = 0; i < 4; ++i) {
    chunk.word[i] = std::uint32_t{from[2 * i].bits} | std::uint32_t{from[2 * i + 1].bits} << 16;
  }
  return chunk;
}

}  // namespace SIMT_BACKEND
}  // namespace assay::simt

#undef SIMT_ANY_TYPE
