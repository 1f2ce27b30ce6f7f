// The register kernels of the `ordered` engine, one table for each instruction set.
// Internal to products/.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

namespace assay::reference {

inline constexpr int kMaxRows = 8;     // rows of C a kernel keeps in registers
inline constexpr int kMaxVectors = 3;  // vectors of C in each row

// C[r,n] = fma chain over k of A[r,k] B[k,n], from C if resume, else from 0; for a fixed number of
// rows R and vectors V.
//   a  [R,depth]        rows a_stride apart, unit column stride
//   b  [depth,V*lanes]  packed: rows one after the other, 64-byte aligned
//   c  [R,V*lanes]      rows c_stride apart
using MicroKernel = void (*)(int64_t depth, const double* a, int64_t a_stride, const double* b,
                             double* c, int64_t c_stride, bool resume);

// to[c,r] = from[r,c] for a [rows,cols] matrix `from`; both with unit column stride.
using Transpose = void (*)(double* to, int64_t to_stride, const double* from, int64_t from_stride,
                           int64_t rows, int64_t cols);

struct Kernel {
  const char* name;
  int lanes;                                                           // doubles in a vector
  int rows, vectors;                                                   // the largest R and V
  std::array<std::array<MicroKernel, kMaxVectors>, kMaxRows> micro{};  // [R-1][V-1]
  Transpose transpose;
};

const Kernel& avx512_kernel();
const Kernel& avx2_kernel();
const Kernel& scalar_kernel();
const Kernel& active_kernel();  // the one active_simd() names

// Fills the table from a class with `template <int R, int V> static void micro(...)`.
template <class Micro, int R, int... V>
constexpr auto micro_row(std::integer_sequence<int, V...>) {
  return std::array<MicroKernel, kMaxVectors>{&Micro::template micro<R, V + 1>...};
}
template <class Micro, int Vectors, int... R>
constexpr auto micro_table(std::integer_sequence<int, R...>) {
  return std::array<std::array<MicroKernel, kMaxVectors>, kMaxRows>{
      micro_row<Micro, R + 1>(std::make_integer_sequence<int, Vectors>{})...};
}

}  // namespace assay::reference
