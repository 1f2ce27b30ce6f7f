// gemm, and each of its variants
#include "cases.h"
#include "cuda_impl/kernels/gemm/gemm_variants.h"

namespace assay::kernel_test {
namespace {

struct Shape {
  int64_t N, M, K;
  bool with_bias = false;
  int64_t shift = 0;  // elements by which every array lies past a multiple of 16 bytes
};

// Roundings: one per product and one per addition of the chain of K, and of the bias. Products of
// 16-bit types are exact, but a tensor core may lose twice as much with each addition.
template <class S, class Out>
Case gemm_case(const cuda::GemmVariant<S, Out>& variant, const Shape& shape,
               cuda::Operands operands) {
  const auto [N, M, K, with_bias, shift] = shape;
  const Values bias = with_bias ? random_values<S>(M, 3) : Values(at(M), 0.0);
  const Values x = random_values<S>(N * K, 1), w = random_values<S>(M * K, 2);
  return {variant.name, shape_of("N M K bias shift", N, M, K, with_bias, shift),
          [=] {
            const auto g_x = upload<S>(x, shift), g_w = upload<S>(w, shift),
                       g_bias = upload<S>(bias, shift);
            const View<const S, 1> bias_view{g_bias.get() + shift, {M}};
            const simt::Buffer<Out> y(at(shift + N * M));
            variant.launch({y.get() + shift, {N, M}}, {g_x.get() + shift, {N, K}},
                           {g_w.get() + shift, {M, K}}, with_bias ? bias_view : View<const S, 1>{},
                           nullptr, {});
            Values out;
            download(y, out);
            out.erase(out.begin(), out.begin() + shift);
            return out;
          },
          [=, x = as_read(x, operands), w = as_read(w, operands)] {
            std::vector<Expected> out;
            for (int64_t n = 0; n < N; ++n) {
              for (int64_t m = 0; m < M; ++m) {
                double sum = bias[at(m)], magnitude = std::fabs(bias[at(m)]);
                for (int64_t k = 0; k < K; ++k) {
                  sum += x[at(n * K + k)] * w[at(m * K + k)];
                  magnitude += std::fabs(x[at(n * K + k)] * w[at(m * K + k)]);
                }
                out.push_back(expected<S, Out>(sum, static_cast<double>(K + 2), magnitude));
              }
            }
            return out;
          }};
}

// Gemms j = 0 .. count-1 whose w are columns of a wider array [M,W], from column j*K on, each sum
// going on from y in the accumulator's type.
template <class S>
Case layout_case(const cuda::GemmVariant<S, accum_t<S>>& variant, const Shape& shape, int64_t count,
                 cuda::Operands operands) {
  using A = accum_t<S>;
  const auto [N, M, K, with_bias, unused] = shape;
  const int64_t W = count * K + 8;  // a row has columns that nobody reads
  const Values x = random_values<S>(count * N * K, 1), w = random_values<S>(M * W, 2);
  const Values bias = random_values<S>(count * M, 3), before = random_values<A>(count * N * M, 4);
  return {variant.name, shape_of("N M K bias count", N, M, K, with_bias, count),
          [=] {
            const auto g_x = upload<S>(x), g_w = upload<S>(w), g_bias = upload<S>(bias);
            const auto y = upload<A>(before);
            const View<const S, 1> bias_view{g_bias.get(), {M}};
            variant.launch({y.get(), {N, M}}, {g_x.get(), {N, K}}, {g_w.get(), {M, K}},
                           with_bias ? bias_view : View<const S, 1>{}, nullptr,
                           {.count = count,
                            .y = N * M,
                            .x = N * K,
                            .w = K,
                            .bias = M,
                            .w_row = W,
                            .accumulate = true});
            Values out;
            download(y, out);
            return out;
          },
          [=, x = as_read(x, operands), w = as_read(w, operands)] {
            std::vector<Expected> out;
            for (int64_t i = 0; i < count * N * M; ++i) {
              const int64_t j = i / (N * M), n = i / M % N, m = i % M;
              double sum = before[at(i)] + (with_bias ? bias[at(j * M + m)] : 0.0);
              double magnitude = std::fabs(before[at(i)]) + 1;
              for (int64_t k = 0; k < K; ++k) {
                const double product = x[at((j * N + n) * K + k)] * w[at(m * W + j * K + k)];
                sum += product;
                magnitude += std::fabs(product);
              }
              out.push_back(expected<S, A>(sum, static_cast<double>(K + 3), magnitude));
            }
            return out;
          }};
}

template <class S, class Out, cuda::Operands kOperands>
void gemm(View<Out, 2> y, View<const S, 2> x, View<const S, 2> w, View<const S, 1> bias,
          simt::Stream stream, const cuda::GemmLayout& layout) {
  cuda::gemm<S>(y, x, w, bias, stream, kOperands, layout);
}

template <class S, class Out>
void add_cases_of(const std::vector<Shape>& shapes, std::vector<Case>& cases) {
  using enum cuda::Operands;
  std::vector<cuda::GemmVariant<S, Out>> variants = cuda::gemm_variants<S, Out>();
  variants.push_back({"gemm", gemm<S, Out, as_stored>});
  for (const auto& variant : variants) {
    for (const Shape& shape : shapes) cases.push_back(gemm_case(variant, shape, as_stored));
  }
  if constexpr (std::is_same_v<S, float>) {
    variants = cuda::tf32_gemm_variants();
    variants.push_back({"gemm_tf32", gemm<S, Out, tf32>});
    for (const auto& variant : variants) {
      for (const Shape& shape : shapes) cases.push_back(gemm_case(variant, shape, tf32));
    }
  }
}

template <class S>
void add_layout_cases(const std::vector<Shape>& shapes, std::vector<Case>& cases) {
  using A = accum_t<S>;
  using enum cuda::Operands;
  std::vector<cuda::GemmVariant<S, A>> variants = cuda::gemm_variants<S, A>();
  variants.push_back({"gemm", gemm<S, A, as_stored>});
  for (const auto& variant : variants) {
    for (const Shape& shape : shapes) cases.push_back(layout_case(variant, shape, 3, as_stored));
  }
  if constexpr (std::is_same_v<S, float>) {
    variants = cuda::tf32_gemm_variants();
    variants.push_back({"gemm_tf32", gemm<S, A, tf32>});
    for (const auto& variant : variants) {
      for (const Shape& shape : shapes) cases.push_back(layout_case(variant, shape, 3, tf32));
    }
  }
}

}  // namespace

// At least two tiles (64, 128) in each direction and three steps (32) of k somewhere, with ragged
// ends; rows of whole 16-byte pieces (K a multiple of 8) at multiples of 16 bytes, and others.
template <class S>
void add_gemm_cases(std::vector<Case>& cases) {
  std::vector<Shape> shapes{{1, 1, 1}, {33, 31, 70}, {130, 133, 72, true}};
  if (!kSmall) {
    const std::vector<Shape> more{{70, 129, 33},  {64, 64, 64},          {33, 70, 20, true},
                                  {129, 72, 136}, {65, 66, 64, true, 1}, {3, 260, 100, true, 2}};
    shapes.insert(shapes.end(), more.begin(), more.end());
  }
  add_cases_of<S, S>(shapes, cases);
  if (!std::is_same_v<S, accum_t<S>>) {
    add_cases_of<S, accum_t<S>>({{65, 20, 40}, {33, 134, 64, true}}, cases);
  }
  std::vector<Shape> stacks{{5, 20, 9, true}};
  if (!kSmall) {
    stacks.push_back({33, 70, 72, true});
    stacks.push_back({70, 65, 35});
  }
  add_layout_cases<S>(stacks, cases);
}
ASSAY_INSTANTIATE_CASES(add_gemm_cases)

}  // namespace assay::kernel_test
