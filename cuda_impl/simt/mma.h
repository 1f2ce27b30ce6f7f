// simt::mma: the warp-wide product of tensor cores,  d [16,8] += a [16,16] b [16,8],  a and b
// stored as S (bf16 or f16), d in float. With S = tf32 a is [16,8] and b [8,8].
//
// A warp holds each matrix in fragments: every lane has 8 elements of a, 4 of b, 4 of d. Which ones
// is what mma_a_place, mma_b_place and mma_d_place say, after the PTX ISA, "Matrix Fragments for
// mma.m16n8k16 with floating point type". Elements 2i and 2i + 1 of a and b share a 32-bit word,
// the even one in its low half; they are neighbours along the summed index. An element of tf32 is a
// word of its own, and lies where the pair of 16-bit elements would ("Matrix Fragments for
// mma.m16n8k8"):
// mma_a_word and mma_b_word are for either.
//
// Every lane of a full warp takes part. A product of two S is exact in float unless it leaves
// float's range. The host adds in float, k ascending, onto what d holds. Tensor cores differ: they
// add several products at once, aligned to the largest and truncated, so an addition may lose up to
// one unit in the last place where the host loses half of one (Fasi, Higham, Mikaitis, Pranesh,
// "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 7:e330, 2021).
#pragma once
#include "cuda_impl/simt/simt.h"
#include "cuda_impl/simt/tf32.h"

namespace assay::simt {
inline namespace SIMT_BACKEND {

// In a matrix, counted from 0.
struct MmaPlace {
  int row, column;
};
// Of element i of a lane, i in [0,8): a [16,16].
SIMT_HD constexpr MmaPlace mma_a_place(int lane, int i) {
  return {lane / 4 + i / 2 % 2 * 8, lane % 4 * 2 + i % 2 + i / 4 * 8};
}
// i in [0,4): b [16,8].
SIMT_HD constexpr MmaPlace mma_b_place(int lane, int i) {
  return {lane % 4 * 2 + i % 2 + i / 2 * 8, lane / 4};
}
// i in [0,4): d [16,8].
SIMT_HD constexpr MmaPlace mma_d_place(int lane, int i) {
  return {lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2};
}

// Of word i of a lane, counted in words along the summed index: i in [0,4), a [16,8].
SIMT_HD constexpr MmaPlace mma_a_word(int lane, int i) {
  const MmaPlace place = mma_a_place(lane, 2 * i);
  return {place.row, place.column / 2};
}
// i in [0,2): b [8,8].
SIMT_HD constexpr MmaPlace mma_b_word(int lane, int i) {
  const MmaPlace place = mma_b_place(lane, 2 * i);
  return {place.row / 2, place.column};
}

// Two neighbours of S in a word.
template <class S>
SIMT_HD std::uint32_t mma_pair(S even, S odd) {
  return std::uint32_t{even.bits} | std::uint32_t{odd.bits} << 16;
}

template <class S>
struct MmaA {
  std::uint32_t word[4];
};
template <class S>
struct MmaB {
  std::uint32_t word[2];
};
struct MmaD {
  float value[4];
};

// The lane's part of a matrix a whose rows lie `stride` words apart.
template <class S>
SIMT_DEVICE MmaA<S> load_mma_a(const std::uint32_t* words, int stride, int lane) {
  MmaA<S> a;
  SIMT_UNROLL for (int r = 0; r < 4; ++r) {
    const MmaPlace place = mma_a_word(lane, r);
    a.word[r] = words[place.row * stride + place.column];
  }
  return a;
}
// The lane's part of a matrix b whose columns lie `stride` words apart.
template <class S>
SIMT_DEVICE MmaB<S> load_mma_b(const std::uint32_t* words, int stride, int lane) {
  MmaB<S> b;
  SIMT_UNROLL for (int r = 0; r < 2; ++r) {
    const MmaPlace place = mma_b_word(lane, r);
    b.word[r] = words[place.column * stride + place.row];
  }
  return b;
}

// Two neighbouring results d, together [16,16], rounded to S: an operand a that never leaves its
// lane.
template <class S>
SIMT_HD MmaA<S> mma_a_of(const MmaD& left, const MmaD& right) {
  const auto pair = [](const MmaD& d, int i) { return mma_pair(S(d.value[i]), S(d.value[i + 1])); };
  return {{pair(left, 0), pair(left, 2), pair(right, 0), pair(right, 2)}};
}

#if SIMT_ON_HOST

namespace host {
struct MmaRequest {
  float* d;
  const std::uint32_t *a, *b;
};
template <class S>
void mma_lanes(void** requests, unsigned mask);  // bf16, f16, tf32
}  // namespace host

template <class S>
void mma(MmaD& d, const MmaA<S>& a, const MmaB<S>& b, host::Loc loc = host::Loc::current()) {
  host::MmaRequest request{d.value, a.word, b.word};
  host::sync_warp(kFullMask, host::mma_lanes<S>, &request, loc);
}

#elif defined(__CUDACC__)

template <class S>
SIMT_DEVICE void mma(MmaD& d, const MmaA<S>& a, const MmaB<S>& b) {
  static_assert(std::is_same_v<S, bf16> || std::is_same_v<S, f16> || std::is_same_v<S, tf32>);
#define SIMT_MMA(shape, type)                                                                    \
  asm volatile("mma.sync.aligned." shape ".row.col.f32." type "." type                           \
               ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                      \
               : "+f"(d.value[0]), "+f"(d.value[1]), "+f"(d.value[2]), "+f"(d.value[3])          \
               : "r"(a.word[0]), "r"(a.word[1]), "r"(a.word[2]), "r"(a.word[3]), "r"(b.word[0]), \
                 "r"(b.word[1]))
  if constexpr (std::is_same_v<S, bf16>) {
    SIMT_MMA("m16n8k16", "bf16");
  } else if constexpr (std::is_same_v<S, f16>) {
    SIMT_MMA("m16n8k16", "f16");
  } else {
    SIMT_MMA("m16n8k8", "tf32");
  }
#undef SIMT_MMA
}

#endif

}  // namespace SIMT_BACKEND
}  // namespace assay::simt
