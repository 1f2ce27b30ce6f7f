// embedding, swiglu, add, add_n
#include "cases.h"

namespace assay::kernel_test {
namespace {

template <class S>
Case embedding_case(int64_t N, int64_t V, int64_t D) {
  const Values table = random_values<S>(V * D, 1);
  std::vector<int32_t> tokens;
  for (int64_t n = 0; n < N; ++n) tokens.push_back(static_cast<int32_t>((n * 7 + 3) % V));
  return {"embedding", shape_of("N V D", N, V, D),
          [=] {
            const auto g_table = upload<S>(table);
            const simt::Buffer<int32_t> g_tokens(tokens);
            const simt::Buffer<S> y(at(N * D));
            cuda::embedding<S>({y.get(), {N, D}}, {g_table.get(), {V, D}}, {g_tokens.get(), {N}},
                               nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (const int32_t token : tokens) {
              for (int64_t d = 0; d < D; ++d) out.push_back({table[at(token * D + d)], 0.0});
            }
            return out;
          }};
}

// Roundings of silu(g) * u: the exponential (2), the sum, the quotient, the product.
template <class S, class Operand>
Case swiglu_case(int64_t N, int64_t F) {
  const Values gate = random_values<Operand>(N * F, 2, 6.0), up = random_values<Operand>(N * F, 3);
  return {"swiglu", shape_of("N F", N, F),
          [=] {
            const auto g_gate = upload<Operand>(gate), g_up = upload<Operand>(up);
            const simt::Buffer<S> y(at(N * F));
            cuda::swiglu<S, Operand>({y.get(), {N, F}}, {g_gate.get(), {N, F}},
                                     {g_up.get(), {N, F}}, nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (std::size_t i = 0; i < gate.size(); ++i) {
              const double value = gate[i] / (1 + std::exp(-gate[i])) * up[i];
              out.push_back(expected<S>(value, 5, std::fabs(value)));
            }
            return out;
          }};
}

// terms = 2, 3: add; more: add_n.
template <class S>
Case add_case(const char* kernel, int64_t terms, int64_t N, int64_t D) {
  std::vector<Values> x;
  for (int64_t i = 0; i < terms; ++i) {
    x.push_back(random_values<S>(N * D, 10 + static_cast<uint64_t>(i)));
  }
  return {kernel, shape_of("terms N D", terms, N, D),
          [=] {
            std::vector<simt::Buffer<S>> g_x;
            std::vector<const S*> table;
            for (const Values& term : x) {
              g_x.push_back(upload<S>(term));
              table.push_back(g_x.back().get());
            }
            const simt::Buffer<S> y(at(N * D));
            const View<S, 2> out_view{y.get(), {N, D}};
            const auto term = [&](std::size_t i) { return View<const S, 2>{table[i], {N, D}}; };
            if (std::string(kernel) == "add_n") {
              const simt::Buffer<const S*> g_table(table);
              cuda::add_n<S>(out_view, g_table.get(), terms, nullptr);
            } else if (terms == 2) {
              cuda::add<S>(out_view, term(0), term(1), nullptr);
            } else {
              cuda::add<S>(out_view, term(0), term(1), term(2), nullptr);
            }
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (std::size_t i = 0; i < x[0].size(); ++i) {
              double sum = 0, magnitude = 0;
              for (const Values& term : x) {
                sum += term[i];
                magnitude += std::fabs(term[i]);
              }
              out.push_back(expected<S>(sum, static_cast<double>(terms - 1), magnitude));
            }
            return out;
          }};
}

}  // namespace

template <class S>
void add_pointwise_cases(std::vector<Case>& cases) {
  cases.push_back(embedding_case<S>(1, 1, 1));
  cases.push_back(embedding_case<S>(31, 11, 33));
  cases.push_back(swiglu_case<S, S>(1, 1));
  cases.push_back(swiglu_case<S, S>(13, 70));
  cases.push_back(swiglu_case<S, accum_t<S>>(13, 70));
  cases.push_back(add_case<S>("add", 2, 1, 1));
  cases.push_back(add_case<S>("add", 2, 31, 33));
  cases.push_back(add_case<S>("add", 3, 31, 33));
  cases.push_back(add_case<S>("add_n", 1, 31, 33));
  cases.push_back(add_case<S>("add_n", 7, 31, 33));
}
ASSAY_INSTANTIATE_CASES(add_pointwise_cases)

}  // namespace assay::kernel_test
