// Arrays in device memory that carry their shapes, and the checks a launcher makes on them by name.
#pragma once

#include <array>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <string>
#include <type_traits>

#include "cuda_impl/simt/simt.h"
#if defined(ASSAY_TAINTED)
#include "cuda_impl/simt/tainted.h"
#endif

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Row-major, not owned. data may be null only where a launcher says so.
template <class T, int R>
struct View {
  T* data = nullptr;
  std::array<int64_t, R> shape{};

  template <class C>
  requires(std::is_same_v<C, const T> && !std::is_const_v<T>) operator View<C, R>() const {
    return {data, shape};
  }

  // The same elements under another shape of as many.
  template <std::size_t R2>
  View<T, int{R2}> as(const int64_t (&extents)[R2]) const {
    View<T, int{R2}> other{data, {}};
    int64_t count = 1, other_count = 1;
    for (const int64_t extent : shape) count *= extent;
    for (std::size_t i = 0; i < R2; ++i) other_count *= other.shape[i] = extents[i];
    if (count != other_count) {
      throw simt::Error("view: expected " + std::to_string(count) + " elements, got " +
                        std::to_string(other_count));
    }
    return other;
  }
};

// An argument that is only read. S is deduced from the output, so a mutable View converts to it.
template <class T, int R>
using In = std::type_identity_t<View<const T, R>>;

inline std::string extents_text(const int64_t* extents, int count) {
  std::string text = "[";
  for (int i = 0; i < count; ++i) {
    if (i != 0) text += ',';
    text += std::to_string(extents[i]);
  }
  text += ']';
  return text;
}

// Throws Error "kernel: argument: expected [..], got [..]" unless the shapes agree, every extent is
// in [1, INT_MAX] (kernels count in int; offsets are int64_t) and there is memory behind it.
template <class T, int R>
void expect_shape(const char* kernel, const char* argument, const View<T, R>& view,
                  const std::array<std::type_identity_t<int64_t>, R>& expected) {
  const std::string where = std::string(kernel) + ": " + argument + ": ";
  if (view.shape != expected) {
    throw simt::Error(where + "expected " + extents_text(expected.data(), R) + ", got " +
                      extents_text(view.shape.data(), R));
  }
  for (const int64_t extent : expected) {
    if (extent < 1 || extent > INT_MAX) {
      throw simt::Error(where + "expected extents from 1 to 2147483647, got " +
                        extents_text(expected.data(), R));
    }
  }
  if (view.data == nullptr) throw simt::Error(where + "expected memory, got a null pointer");
}

inline void expect_at_most(const char* kernel, const char* extent, int64_t value, int64_t most) {
  if (value >= 1 && value <= most) return;
  throw simt::Error(std::string(kernel) + ": " + extent + ": expected 1 to " +
                    std::to_string(most) + ", got " + std::to_string(value));
}

// Of a norm's x for y [N,D]: N rows, or with an addend a divisor of N, which all layers share.
template <class T>
void expect_rows_of_layers(const char* kernel, const View<T, 2>& x, bool with_addend, int64_t N,
                           int64_t D) {
  const int64_t rows = x.shape[0];
  const bool shared = with_addend && rows > 0 && N % rows == 0;
  expect_shape(kernel, "x [N,D]", x, {shared ? rows : N, D});
}

// "gemm [24,64]": what a failed launch is called, formed without allocating.
struct LaunchName {
  char text[96];

  template <std::size_t R>
  LaunchName(const char* kernel, const std::array<int64_t, R>& shape) {
    int used = std::snprintf(text, sizeof text, "%s ", kernel);
    for (std::size_t i = 0; i < R && used < int{sizeof text}; ++i) {
      used += std::snprintf(text + used, sizeof text - used, "%s%lld", i == 0 ? "[" : ",",
                            static_cast<long long>(shape[i]));
    }
    if (used < int{sizeof text}) std::snprintf(text + used, sizeof text - used, "]");
  }
};

// What a kernel library is built for: M(S) for every storage type, and for those whose accumulator
// is another type, so that a kernel can leave a result unrounded, for those that a gemm can read as
// tf32, and for every accumulator.
// ASSAY_TAINTED is defined for the library whose scalar carries dependences.
#if defined(ASSAY_TAINTED)
#define ASSAY_FOR_STORAGE_TYPES(M) M(simt::Tainted)
#define ASSAY_FOR_NARROW_TYPES(M)
#define ASSAY_FOR_TYPES_READ_AS_TF32(M)
#define ASSAY_FOR_ACCUMULATORS(M) M(simt::Tainted)
#else
#define ASSAY_FOR_STORAGE_TYPES(M) M(float) M(simt::bf16) M(simt::f16) M(double)
#define ASSAY_FOR_NARROW_TYPES(M) M(simt::bf16) M(simt::f16)
#define ASSAY_FOR_TYPES_READ_AS_TF32(M) M(float)
#define ASSAY_FOR_ACCUMULATORS(M) M(float) M(double)
#endif

inline unsigned blocks_for(int64_t items, int64_t per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
