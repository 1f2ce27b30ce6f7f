// product_nn, product_tn, column_sum, embedding_backward
#include "cases.h"

namespace assay::kernel_test {
namespace {

// What the outputs hold before: added to when accumulating, else without a trace.
template <class Out>
Values held(int64_t count) {
  return random_values<Out>(count, 99, 3.0);
}

// Roundings: one per product and one per addition of the chain of `depth`, one to accumulate.
// left(r, k) and right(k, c) give the factors.
template <class S, class Out, class Left, class Right>
std::vector<Expected> products(int64_t rows, int64_t columns, int64_t depth, bool accumulate,
                               const Left& left, const Right& right) {
  const Values before = held<Out>(rows * columns);
  std::vector<Expected> out;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      double sum = accumulate ? before[at(r * columns + c)] : 0, magnitude = std::fabs(sum);
      for (int64_t k = 0; k < depth; ++k) {
        sum += left(r, k) * right(k, c);
        magnitude += std::fabs(left(r, k) * right(k, c));
      }
      out.push_back(expected<S, Out>(sum, static_cast<double>(depth + 2), magnitude));
    }
  }
  return out;
}

std::string name_of(const char* kernel, cuda::Operands operands) {
  return std::string(kernel) + (operands == cuda::Operands::tf32 ? "_tf32" : "");
}

template <class S, class Out>
Case product_nn_case(int64_t N, int64_t M, int64_t K, bool accumulate,
                     cuda::Operands operands = cuda::Operands::as_stored) {
  const Values dy = random_values<S>(N * M, 1), w = random_values<S>(M * K, 2);
  return {name_of("product_nn", operands), shape_of("N M K accumulate", N, M, K, accumulate),
          [=] {
            const auto g_dy = upload<S>(dy), g_w = upload<S>(w);
            const auto dx = upload<Out>(held<Out>(N * K));
            cuda::product_nn<S>(View<Out, 2>{dx.get(), {N, K}}, {g_dy.get(), {N, M}},
                                {g_w.get(), {M, K}}, accumulate, nullptr, operands);
            Values out;
            download(dx, out);
            return out;
          },
          [=, dy = as_read(dy, operands), w = as_read(w, operands)] {
            return products<S, Out>(
                N, K, M, accumulate, [&](int64_t n, int64_t m) { return dy[at(n * M + m)]; },
                [&](int64_t m, int64_t k) { return w[at(m * K + k)]; });
          }};
}

template <class S>
Case product_tn_case(int64_t N, int64_t M, int64_t K, bool accumulate,
                     cuda::Operands operands = cuda::Operands::as_stored) {
  using A = accum_t<S>;
  const Values dy = random_values<S>(N * M, 1), x = random_values<S>(N * K, 2);
  return {name_of("product_tn", operands), shape_of("N M K accumulate", N, M, K, accumulate),
          [=] {
            const auto g_dy = upload<S>(dy), g_x = upload<S>(x);
            const auto dw = upload<A>(held<A>(M * K));
            cuda::product_tn<S>({dw.get(), {M, K}}, {g_dy.get(), {N, M}}, {g_x.get(), {N, K}},
                                accumulate, nullptr, operands);
            Values out;
            download(dw, out);
            return out;
          },
          [=, dy = as_read(dy, operands), x = as_read(x, operands)] {
            return products<S, A>(
                M, K, N, accumulate, [&](int64_t m, int64_t n) { return dy[at(n * M + m)]; },
                [&](int64_t n, int64_t k) { return x[at(n * K + k)]; });
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
            return products<S, A>(
                1, D, N, accumulate, [](int64_t, int64_t) { return 1.0; },
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
            std::vector<Expected> out = products<S, A>(
                V, D, N, accumulate && !fast_atomics,
                [&](int64_t v, int64_t n) { return tokens[at(n)] == v ? 1.0 : 0.0; },
                [&](int64_t n, int64_t d) { return dy[at(n * D + d)]; });
            for (std::size_t i = 0; fast_atomics && i < out.size(); ++i) {
              out[i] = {out[i].value + before[i], 0.0};
            }
            return out;
          }};
}

}  // namespace

// Tiles as in product_cases.cpp; chunks of 32 rows, blocks of 128 columns.
template <class S>
void add_product_backward_cases(std::vector<Case>& cases) {
  for (const bool accumulate : {false, true}) {
    cases.push_back(product_nn_case<S, S>(1, 1, 1, accumulate));
    cases.push_back(product_nn_case<S, S>(33, 70, 31, accumulate));
    cases.push_back(product_tn_case<S>(70, 33, 31, accumulate));
    if (std::is_same_v<S, float>) {
      cases.push_back(product_nn_case<S, S>(33, 70, 31, accumulate, cuda::Operands::tf32));
      cases.push_back(product_tn_case<S>(70, 33, 31, accumulate, cuda::Operands::tf32));
    }
    cases.push_back(column_sum_case<S>(70, 33, accumulate));
    cases.push_back(embedding_backward_case<S>(70, 11, 33, accumulate));
  }
  cases.push_back(embedding_backward_case<S>(70, 11, 33, true, true));
  if (kSmall) return;
  cases.push_back(product_nn_case<S, S>(70, 33, 129, false));
  if (!std::is_same_v<S, accum_t<S>>) {
    cases.push_back(product_nn_case<S, accum_t<S>>(65, 40, 20, true));
  }
  cases.push_back(product_tn_case<S>(1, 1, 1, false));
  cases.push_back(product_tn_case<S>(33, 70, 129, false));
  if (std::is_same_v<S, float>) {
    cases.push_back(product_nn_case<S, S>(70, 33, 129, false, cuda::Operands::tf32));
    cases.push_back(product_tn_case<S>(33, 70, 129, false, cuda::Operands::tf32));
  }
  cases.push_back(column_sum_case<S>(1, 1, false));
  cases.push_back(column_sum_case<S>(33, 130, false));
  cases.push_back(embedding_backward_case<S>(1, 1, 1, false));
  cases.push_back(embedding_backward_case<S>(33, 3, 130, false));
}
ASSAY_INSTANTIATE_CASES(add_product_backward_cases)

}  // namespace assay::kernel_test
