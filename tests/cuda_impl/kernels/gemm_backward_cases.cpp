// gemm_nn, gemm_tn and their variants, column_sum, embedding_backward
#include "cases.h"
#include "cuda_impl/kernels/gemm/gemm_backward_variants.h"

namespace assay::kernel_test {
namespace {

// What the outputs hold before: added to when accumulating, else without a trace.
template <class Out>
Values held(int64_t count) {
  return random_values<Out>(count, 99, 3.0);
}

// Roundings: one per product and one per addition of the chain of `depth`, one to accumulate onto
// `before`, which is empty where nothing is; for tensor cores as in gemm_cases.cpp. left(r, k) and
// right(k, c) give the factors.
template <class S, class Out, class Left, class Right>
std::vector<Expected> gemms(int64_t rows, int64_t columns, int64_t depth, const Values& before,
                            const Left& left, const Right& right) {
  std::vector<Expected> out;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      double sum = before.empty() ? 0 : before[at(r * columns + c)], magnitude = std::fabs(sum);
      for (int64_t k = 0; k < depth; ++k) {
        sum += left(r, k) * right(k, c);
        magnitude += std::fabs(left(r, k) * right(k, c));
      }
      out.push_back(expected<S, Out>(sum, static_cast<double>(depth + 2), magnitude));
    }
  }
  return out;
}

struct Shape {
  int64_t N, M, K;
  bool accumulate = false;
  int64_t count = 1;    // gemms, whose factors are columns of one array
  int64_t unread = 0;   // columns of that array besides
  bool shared = false;  // all gemms have one dy
  int64_t shift = 0;    // elements by which every array lies past a multiple of 16 bytes
};

// kIsTn: gemm_tn, which adds up along N; else gemm_nn, along M.
template <bool kIsTn, class S, class Out>
Case gemm_case(const cuda::GemmBackwardVariant<S, Out>& variant, const Shape& shape,
               cuda::Operands operands) {
  const auto [N, M, K, accumulate, count, unread, shared, shift] = shape;
  const int64_t rows = kIsTn ? M : N, depth = kIsTn ? N : M;
  const int64_t factor_row = count * K + unread, dy_step = shared ? 0 : N * M;
  const Values dy = random_values<S>((shared ? 1 : count) * N * M, 1),
               factor = random_values<S>(depth * factor_row, 2),
               before = held<Out>(count * rows * K);
  return {variant.name,
          shape_of("N M K accumulate count unread shared shift", N, M, K, accumulate, count, unread,
                   shared, shift),
          [=] {
            const auto g_dy = upload<S>(dy, shift), g_factor = upload<S>(factor, shift);
            const auto out = upload<Out>(before, shift);
            variant.launch({out.get() + shift, {rows, K}}, {g_dy.get() + shift, {N, M}},
                           {g_factor.get() + shift, {depth, K}}, accumulate, nullptr,
                           {.count = count,
                            .out = rows * K,
                            .dy = dy_step,
                            .factor = K,
                            .factor_row = factor_row == K ? 0 : factor_row});
            Values values;
            download(out, values);
            values.erase(values.begin(), values.begin() + shift);
            return values;
          },
          [=, dy = as_read(dy, operands), factor = as_read(factor, operands)] {
            std::vector<Expected> out;
            for (int64_t j = 0; j < count; ++j) {
              const auto first = before.begin() + j * rows * K;
              const auto left = [&](int64_t r, int64_t k) {
                return dy[at(j * dy_step + (kIsTn ? k * M + r : r * M + k))];
              };
              const auto right = [&](int64_t k, int64_t c) {
                return factor[at(j * K + k * factor_row + c)];
              };
              for (const Expected& each : gemms<S, Out>(
                       rows, K, depth, accumulate ? Values(first, first + rows * K) : Values{},
                       left, right)) {
                out.push_back(each);
              }
            }
            return out;
          }};
}

// Roundings: N additions, in two stages, and one to accumulate.
template <class S>
Case column_sum_case(int64_t N, int64_t D, bool accumulate) {
  using A = accum_t<S>;
  const Values x = random_values<S>(N * D, 1);
  return {"column_sum", shape_of("N D accumulate", N, D, accumulate),
          [=] {
            const int64_t chunks = cuda::row_chunks(N);
            const auto g_x = upload<S>(x);
            const auto sums = upload<A>(held<A>(D));
            const simt::Buffer<A> parts(at(chunks * D));
            cuda::column_sum<S>({sums.get(), {D}}, {parts.get(), {chunks, D}}, {g_x.get(), {N, D}},
                                accumulate, nullptr);
            Values out;
            download(sums, out);
            return out;
          },
          [=] {
            return gemms<S, A>(
                1, D, N, accumulate ? held<A>(D) : Values{}, [](int64_t, int64_t) { return 1.0; },
                [&](int64_t n, int64_t d) { return x[at(n * D + d)]; });
          }};
}

// The first half of the vocabulary occurs, token 0 a third of the time; the rest gets no gradient.
// With fast_atomics in whole eighths, whose sums are exact in any order.
template <class S>
Case embedding_backward_case(int64_t N, int64_t V, int64_t D, bool accumulate,
                             bool fast_atomics = false) {
  using A = accum_t<S>;
  const auto eighths = [fast_atomics](Values values) {
    for (double& value : values) value = fast_atomics ? std::round(8 * value) / 8 : value;
    return values;
  };
  const Values dy = eighths(random_values<S>(N * D, 1)), before = eighths(held<A>(V * D));
  std::vector<int32_t> tokens;
  for (int64_t n = 0; n < N; ++n) {
    tokens.push_back(n % 3 == 1 ? 0 : static_cast<int32_t>((n * 7 + 3) % ((V + 1) / 2)));
  }
  return {fast_atomics ? "embedding_backward_fast_atomics" : "embedding_backward",
          shape_of("N V D accumulate", N, V, D, accumulate),
          [=] {
            const auto g_dy = upload<S>(dy);
            const simt::Buffer<int32_t> g_tokens(tokens);
            const auto dtable = upload<A>(before);
            cuda::embedding_backward<S>({dtable.get(), {V, D}}, {g_dy.get(), {N, D}},
                                        {g_tokens.get(), {N}}, accumulate, nullptr, fast_atomics);
            Values out;
            download(dtable, out);
            return out;
          },
          [=] {
            std::vector<Expected> out = gemms<S, A>(
                V, D, N, accumulate && !fast_atomics ? before : Values{},
                [&](int64_t v, int64_t n) { return tokens[at(n)] == v ? 1.0 : 0.0; },
                [&](int64_t n, int64_t d) { return dy[at(n * D + d)]; });
            for (std::size_t i = 0; fast_atomics && i < out.size(); ++i) {
              out[i] = {out[i].value + before[i], 0.0};
            }
            return out;
          }};
}

template <class S, class Out, cuda::Operands kOperands>
void nn(View<Out, 2> dx, View<const S, 2> dy, View<const S, 2> w, bool accumulate,
        simt::Stream stream, const cuda::BackwardLayout& layout) {
  cuda::gemm_nn<S>(dx, dy, w, accumulate, stream, kOperands, layout);
}
template <class S, cuda::Operands kOperands>
void tn(View<accum_t<S>, 2> dw, View<const S, 2> dy, View<const S, 2> x, bool accumulate,
        simt::Stream stream, const cuda::BackwardLayout& layout) {
  cuda::gemm_tn<S>(dw, dy, x, accumulate, stream, kOperands, layout);
}

template <class S, class Out>
void add_nn_cases(const std::vector<Shape>& shapes, std::vector<Case>& cases) {
  using enum cuda::Operands;
  std::vector<cuda::GemmBackwardVariant<S, Out>> variants = cuda::gemm_nn_variants<S, Out>();
  variants.push_back({"gemm_nn", nn<S, Out, as_stored>});
  for (const auto& variant : variants) {
    for (const Shape& shape : shapes) cases.push_back(gemm_case<false>(variant, shape, as_stored));
  }
  if constexpr (std::is_same_v<S, float>) {
    variants = cuda::tf32_gemm_nn_variants();
    variants.push_back({"gemm_nn_tf32", nn<S, Out, tf32>});
    for (const auto& variant : variants) {
      for (const Shape& shape : shapes) cases.push_back(gemm_case<false>(variant, shape, tf32));
    }
  }
}

template <class S>
void add_tn_cases(const std::vector<Shape>& shapes, std::vector<Case>& cases) {
  using enum cuda::Operands;
  std::vector<cuda::GemmBackwardVariant<S, accum_t<S>>> variants = cuda::gemm_tn_variants<S>();
  variants.push_back({"gemm_tn", tn<S, as_stored>});
  for (const auto& variant : variants) {
    for (const Shape& shape : shapes) cases.push_back(gemm_case<true>(variant, shape, as_stored));
  }
  if constexpr (std::is_same_v<S, float>) {
    variants = cuda::tf32_gemm_tn_variants();
    variants.push_back({"gemm_tn_tf32", tn<S, tf32>});
    for (const auto& variant : variants) {
      for (const Shape& shape : shapes) cases.push_back(gemm_case<true>(variant, shape, tf32));
    }
  }
}

}  // namespace

// Tiles and pieces as in gemm_cases.cpp, M as well; chunks of 32 rows, blocks of 128 columns.
template <class S>
void add_gemm_backward_cases(std::vector<Case>& cases) {
  std::vector<Shape> shapes{{1, 1, 1},
                            {33, 70, 31},
                            {72, 70, 31, true},
                            {5, 9, 20, true, 3, 8},
                            {5, 9, 20, false, 2, 1, true}};
  std::vector<Shape> nn_shapes{{33, 72, 136, true}}, tn_shapes{{70, 136, 72, true}};
  if (!kSmall) {
    const std::vector<Shape> more{{70, 33, 129},
                                  {64, 64, 64},
                                  {130, 136, 136, true},
                                  {65, 72, 64, true, 1, 0, false, 1},
                                  {33, 70, 72, true, 3, 8},
                                  {65, 72, 68, true, 2, 3, false, 2},
                                  {70, 35, 65, false, 2, 0, true}};
    shapes.insert(shapes.end(), more.begin(), more.end());
  }
  nn_shapes.insert(nn_shapes.end(), shapes.begin(), shapes.end());
  tn_shapes.insert(tn_shapes.end(), shapes.begin(), shapes.end());
  add_nn_cases<S, S>(nn_shapes, cases);
  if (!std::is_same_v<S, accum_t<S>>) {
    add_nn_cases<S, accum_t<S>>({{65, 40, 20, true}, {33, 72, 72, true, 2, 3}}, cases);
  }
  add_tn_cases<S>(tn_shapes, cases);
  for (const bool accumulate : {false, true}) {
    cases.push_back(column_sum_case<S>(70, 33, accumulate));
    cases.push_back(embedding_backward_case<S>(70, 11, 33, accumulate));
  }
  cases.push_back(embedding_backward_case<S>(70, 11, 33, true, true));
  if (kSmall) return;
  cases.push_back(column_sum_case<S>(1, 1, false));
  cases.push_back(column_sum_case<S>(33, 130, false));
  cases.push_back(embedding_backward_case<S>(1, 1, 1, false));
  cases.push_back(embedding_backward_case<S>(33, 3, 130, false));
}
ASSAY_INSTANTIATE_CASES(add_gemm_backward_cases)

}  // namespace assay::kernel_test
