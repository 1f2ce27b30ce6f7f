// What every kernel is tried on: inputs, a launch, and what plain double loops say the result is.
//
// Each case states its own bound. With u_A and u_S the unit roundoffs of accum_t<S> and of S, a
// kernel's result may be off by (roundings along its longest chain) * u_A * (sum of the magnitudes
// added), and by u_S * |value| for the store. Bounds are doubled: the loops of the oracle round as
// well, which shows when S is double.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda_impl/kernels/backward.h"
#include "cuda_impl/kernels/kernels.h"

namespace assay::kernel_test {

namespace simt = assay::simt;
using cuda::In;
using cuda::View;
using simt::accum_t;

// To TSan every CUDA thread is a thread: there a launch stays below some 2000 of them.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kSmall = true;
#else
inline constexpr bool kSmall = false;
#endif

using Values = std::vector<double>;

struct Expected {
  double value;
  double bound;  // of |got - value|
};

struct Case {
  std::string kernel;  // launches of this kernel only
  std::string shape;
  std::function<Values()> run;                    // launches it and reads all its outputs back
  std::function<std::vector<Expected>()> expect;  // of the same outputs
};

template <class T>
constexpr double unit_of() {
  if (std::is_same_v<T, double>) return 0x1p-53;
  if (std::is_same_v<T, simt::f16>) return 0x1p-11;
  return std::is_same_v<T, float> ? 0x1p-24 : 0x1p-8;
}

// Half the distance of fp16's subnormals: what a store may lose of a small number.
template <class T>
constexpr double smallest_half() {
  return std::is_same_v<T, simt::f16> ? 0x1p-25 : 0;
}

// For a result that was formed with an error of `roundings` units of accum_t<S> of `magnitude` and
// then stored as Out.
template <class S, class Out = S>
Expected expected(double value, double roundings, double magnitude) {
  const double formed = roundings * unit_of<accum_t<S>>() * magnitude;
  return {value,
          2 * formed + unit_of<Out>() * (std::fabs(value) + 2 * formed) + smallest_half<Out>()};
}

template <class T>
T stored(double value) {
  return simt::from_accum<T>(static_cast<accum_t<T>>(value));
}

// Uniform in [-amplitude, amplitude), rounded to T, so that oracle and kernel have the same inputs.
template <class T>
Values random_values(int64_t count, uint64_t seed, double amplitude = 1.0) {
  std::mt19937_64 bits(seed);
  Values values(static_cast<std::size_t>(count));
  for (double& value : values) {
    const double unit = static_cast<double>(bits() >> 11) * 0x1p-53;  // [0,1)
    value = static_cast<double>(simt::to_accum(stored<T>(amplitude * (2 * unit - 1))));
  }
  return values;
}

// `shift` zeros, and the values behind them.
template <class T>
simt::Buffer<T> upload(const Values& values, int64_t shift = 0) {
  std::vector<T> all(static_cast<std::size_t>(shift), stored<T>(0));
  for (const double value : values) all.push_back(stored<T>(value));
  return simt::Buffer<T>(all);
}

// Appends the contents of `buffer`.
template <class T>
void download(const simt::Buffer<T>& buffer, Values& values) {
  std::vector<T> all;
  buffer.to(all);
  for (const T value : all) values.push_back(static_cast<double>(simt::to_accum(value)));
}

// As a gemm reads its factors: rounded to 11 significant bits for tf32, to nearest even. None of
// them is near an end of float's range.
inline Values as_read(Values values, cuda::Operands operands) {
  if (operands == cuda::Operands::as_stored) return values;
  for (double& x : values) {
    const double step = x == 0 ? 1 : std::ldexp(1.0, std::ilogb(x) - 10);
    x = std::nearbyint(x / step) * step;
  }
  return values;
}

// NaN equals NaN here: what is compared is bits that the same kernel gave.
inline bool same_bits(const Values& a, const Values& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

inline std::size_t at(int64_t index) { return static_cast<std::size_t>(index); }

template <class... Extents>
std::string shape_of(const char* names, Extents... extents) {
  std::string text = names;
  text += " =";
  for (const int64_t extent : {static_cast<int64_t>(extents)...}) {
    text += ' ';
    text += std::to_string(extent);
  }
  return text;
}

template <class S>
void add_pointwise_cases(std::vector<Case>& cases);
template <class S>
void add_norm_cases(std::vector<Case>& cases);
template <class S>
void add_head_cases(std::vector<Case>& cases);
template <class S>
void add_stream_cases(std::vector<Case>& cases);
template <class S>
void add_coefficient_gradient_cases(std::vector<Case>& cases);
template <class S>
void add_gate_cases(std::vector<Case>& cases);
template <class S>
void add_gemm_cases(std::vector<Case>& cases);
template <class S>
void add_attention_cases(std::vector<Case>& cases);
template <class S>
void add_cross_entropy_cases(std::vector<Case>& cases);
template <class S>
void add_gemm_backward_cases(std::vector<Case>& cases);
template <class S>
void add_norm_backward_cases(std::vector<Case>& cases);
template <class S>
void add_pointwise_backward_cases(std::vector<Case>& cases);
template <class S>
void add_attention_backward_cases(std::vector<Case>& cases);
template <class S>
void add_optimizer_cases(std::vector<Case>& cases);
template <class S>
void add_dropout_cases(std::vector<Case>& cases);
template <class S>
void add_mean_field_cases(std::vector<Case>& cases);
template <class S>
void add_head_messages_cases(std::vector<Case>& cases);
template <class S>
void add_stack_cases(std::vector<Case>& cases);

template <class S>
std::vector<Case> all_cases() {
  std::vector<Case> cases;
  add_pointwise_cases<S>(cases);
  add_norm_cases<S>(cases);
  add_head_cases<S>(cases);
  add_stream_cases<S>(cases);
  add_coefficient_gradient_cases<S>(cases);
  add_gate_cases<S>(cases);
  add_gemm_cases<S>(cases);
  add_attention_cases<S>(cases);
  add_cross_entropy_cases<S>(cases);
  add_gemm_backward_cases<S>(cases);
  add_norm_backward_cases<S>(cases);
  add_pointwise_backward_cases<S>(cases);
  add_attention_backward_cases<S>(cases);
  add_optimizer_cases<S>(cases);
  add_dropout_cases<S>(cases);
  add_mean_field_cases<S>(cases);
  add_head_messages_cases<S>(cases);
  add_stack_cases<S>(cases);
  return cases;
}

#define ASSAY_INSTANTIATE_CASES_ON_DEVICE(add_cases)       \
  template void add_cases<float>(std::vector<Case>&);      \
  template void add_cases<simt::bf16>(std::vector<Case>&); \
  template void add_cases<simt::f16>(std::vector<Case>&);

#if SIMT_ON_HOST
#define ASSAY_INSTANTIATE_CASES(add_cases)     \
  ASSAY_INSTANTIATE_CASES_ON_DEVICE(add_cases) \
  template void add_cases<double>(std::vector<Case>&);
#else
#define ASSAY_INSTANTIATE_CASES(add_cases) ASSAY_INSTANTIATE_CASES_ON_DEVICE(add_cases)
#endif

}  // namespace assay::kernel_test
