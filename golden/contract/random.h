// Counter-based random numbers: element i of stream s under seed k is a pure function of (k, s, i),
// so any language, any thread and any order of drawing gives the same numbers.
//
// Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) with
//   key     = (seed mod 2^32, seed div 2^32)
//   counter = (block mod 2^32, block div 2^32, h mod 2^32, h div 2^32)
//   h       = FNV-1a, 64 bit, of the stream's name in UTF-8
// Element i is word i mod 4 of block i div 4.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace assay::golden {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

uint64_t stream_id(std::string_view name);

// out[i] = element first + i of the stream; `first` is a multiple of 4.
void random_words(uint64_t seed, uint64_t stream, uint64_t first, std::span<uint32_t> out);

// Nearest value with 8 significant bits (bfloat16), ties to even. x is finite and of normal range.
double round_to_bf16(double x);

}  // namespace assay::golden
