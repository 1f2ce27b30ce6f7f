// Transposition in 4x4 blocks held in registers; shared by the AVX2 and the AVX-512 kernel.
// Internal to products/. Include it after <immintrin.h>, on x86 only.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace assay::reference {

// to[c,r] = from[r,c] for a 4x4 block.
[[gnu::target("avx2")]] inline void transpose_4x4(double* to, int64_t to_stride, const double* from,
                                                  int64_t from_stride) {
  const __m256d r0 = _mm256_loadu_pd(from);                    // 00 01 02 03
  const __m256d r1 = _mm256_loadu_pd(from + from_stride);      // 10 11 12 13
  const __m256d r2 = _mm256_loadu_pd(from + 2 * from_stride);  // 20 21 22 23
  const __m256d r3 = _mm256_loadu_pd(from + 3 * from_stride);  // 30 31 32 33
  const __m256d even01 = _mm256_unpacklo_pd(r0, r1);           // 00 10 02 12
  const __m256d odd01 = _mm256_unpackhi_pd(r0, r1);            // 01 11 03 13
  const __m256d even23 = _mm256_unpacklo_pd(r2, r3);           // 20 30 22 32
  const __m256d odd23 = _mm256_unpackhi_pd(r2, r3);            // 21 31 23 33
  _mm256_storeu_pd(to, _mm256_permute2f128_pd(even01, even23, 0x20));
  _mm256_storeu_pd(to + to_stride, _mm256_permute2f128_pd(odd01, odd23, 0x20));
  _mm256_storeu_pd(to + 2 * to_stride, _mm256_permute2f128_pd(even01, even23, 0x31));
  _mm256_storeu_pd(to + 3 * to_stride, _mm256_permute2f128_pd(odd01, odd23, 0x31));
}

// The Transpose of kernels.h. Eight rows of `from` at a time fill whole cache lines of `to`.
[[gnu::target("avx2")]] inline void transpose_avx2(double* to, int64_t to_stride,
                                                   const double* from, int64_t from_stride,
                                                   int64_t rows, int64_t cols) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += (r + 8 <= rows ? 8 : 4)) {
    const bool eight = r + 8 <= rows;
    const double* source = from + r * from_stride;
    int64_t c = 0;
    for (; c + 4 <= cols; c += 4) {
      transpose_4x4(to + c * to_stride + r, to_stride, source + c, from_stride);
      if (!eight) continue;
      transpose_4x4(to + c * to_stride + r + 4, to_stride, source + 4 * from_stride + c,
                    from_stride);
    }
    for (; c < cols; ++c) {
      for (int i = 0; i < (eight ? 8 : 4); ++i)
        to[c * to_stride + r + i] = source[i * from_stride + c];
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) to[c * to_stride + r] = from[r * from_stride + c];
  }
}

}  // namespace assay::reference
