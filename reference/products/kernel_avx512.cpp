// The `ordered` kernel for AVX-512: 8 rows x 3 vectors of 8 doubles of C stay in registers while k
// runs. The file is compiled for any CPU; only these functions may use the instructions, and
// simd.cpp calls them only where the CPU has them.
#include "reference/products/kernels.h"

#if defined(__x86_64__)
#include "reference/products/transpose_avx2.h"

namespace assay::reference {
namespace {

constexpr int kLanes = 8, kRows = 8, kVectors = 3;

struct Micro {
  template <int R, int V>
  [[gnu::target("avx512f")]] static void micro(int64_t depth, const double* a, int64_t a_stride,
                                               const double* b, double* c, int64_t c_stride,
                                               bool resume) {
    __m512d sum[R][V];
    const double* a_row[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      a_row[r] = a + r * a_stride;
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) {
        sum[r][v] = resume ? _mm512_loadu_pd(c + r * c_stride + v * kLanes) : _mm512_setzero_pd();
      }
    }
    for (int64_t k = 0; k < depth; ++k, b += V * kLanes) {
      __m512d b_k[V];
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) b_k[v] = _mm512_load_pd(b + v * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const __m512d a_rk = _mm512_set1_pd(a_row[r][k]);
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) sum[r][v] = _mm512_fmadd_pd(a_rk, b_k[v], sum[r][v]);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) _mm512_storeu_pd(c + r * c_stride + v * kLanes, sum[r][v]);
    }
  }
};

}  // namespace

const Kernel& avx512_kernel() {
  static constexpr Kernel kernel{
      "avx512",
      kLanes,
      kRows,
      kVectors,
      micro_table<Micro, kVectors>(std::make_integer_sequence<int, kRows>{}),
      transpose_avx2};
  return kernel;
}

}  // namespace assay::reference
#else
namespace assay::reference {
const Kernel& avx512_kernel() {
  static constexpr Kernel kernel{
      .name = "avx512", .lanes = 0, .rows = 0, .vectors = 0, .transpose = nullptr};
  return kernel;
}
}  // namespace assay::reference
#endif
