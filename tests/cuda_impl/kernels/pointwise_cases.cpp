// embedding, swiglu, gelu, add, add_n
#include "cases.h"

namespace assay::kernel_test {
namespace {

// With learned positions: one rounding, that of the sum. In decoding row b begins at position 3 -
// b.
template <class S>
Case embedding_case(int64_t B, int64_t T, int64_t V, int64_t D, bool with_positions = false,
                    bool decodes = false) {
  const int64_t N = B * T, P = T + 3;
  const Values table = random_values<S>(V * D, 1), positions = random_values<S>(P * D, 2);
  std::vector<int32_t> tokens;
  for (int64_t n = 0; n < N; ++n) tokens.push_back(static_cast<int32_t>((n * 7 + 3) % V));
  std::vector<int32_t> position_offset;
  for (int64_t b = 0; b < B; ++b)
    position_offset.push_back(decodes ? static_cast<int32_t>(3 - b) : 0);
  return {"embedding", shape_of("B T V D positions decodes", B, T, V, D, with_positions, decodes),
          [=] {
            const auto g_table = upload<S>(table), g_positions = upload<S>(positions);
            const View<const S, 2> positions_view{g_positions.get(), {P, D}};
            const simt::Buffer<int32_t> g_tokens(tokens), g_position_offset(position_offset);
            const simt::Buffer<S> y(at(N * D));
            cuda::embedding<S>({y.get(), {N, D}}, {g_table.get(), {V, D}},
                               with_positions ? positions_view : View<const S, 2>{},
                               {g_tokens.get(), {B, T}},
                               decodes ? g_position_offset.get() : nullptr, nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t n = 0; n < N; ++n) {
              for (int64_t d = 0; d < D; ++d) {
                const double row = table[at(tokens[at(n)] * D + d)];
                const double position = positions[at((position_offset[at(n / T)] + n % T) * D + d)];
                const double sum = row + position;
                const double magnitude = std::fabs(row) + std::fabs(position);
                out.push_back(with_positions ? expected<S>(sum, 1, magnitude) : Expected{row, 0.0});
              }
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

// Roundings beside erf or tanh, which are good to 2 units here: of the argument 2 (tanh: 5), 1 +
// erf, two products. Where 1 + erf cancels, its error is one of 1.
template <class S, class Operand>
Case gelu_case(bool with_tanh, int64_t N, int64_t F) {
  const Values x = random_values<Operand>(N * F, 4, 6.0);
  return {"gelu", shape_of("tanh N F", with_tanh, N, F),
          [=] {
            const auto g_x = upload<Operand>(x);
            const simt::Buffer<S> y(at(N * F));
            cuda::gelu<S, Operand>({y.get(), {N, F}}, {g_x.get(), {N, F}}, with_tanh, nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (const double v : x) {
              const double inner = std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v);
              const double bell = with_tanh ? std::tanh(inner) : std::erf(v / std::sqrt(2.0));
              out.push_back(expected<S>(0.5 * v * (1 + bell), 12, std::fabs(v)));
            }
            return out;
          }};
}

// terms = 1, 2, 3: add; add_n: as many, the last of them by itself with `last`.
template <class S>
Case add_case(const char* kernel, int64_t terms, int64_t N, int64_t D, bool weighted = false,
              bool last = false) {
  const Values weights = random_values<accum_t<S>>(terms, 9);
  const double scale = weighted ? 1.0 : 0.25;  // a power of two: exact
  std::vector<Values> x;
  for (int64_t i = 0; i < terms; ++i) {
    x.push_back(random_values<S>(N * D, 10 + static_cast<uint64_t>(i)));
  }
  return {kernel, shape_of("terms N D weighted last", terms, N, D, weighted, last),
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
              const auto g_weights = upload<accum_t<S>>(weights);
              cuda::add_n<S>(out_view, g_table.get(), last ? terms - 1 : terms,
                             last ? table.back() : nullptr, weighted ? g_weights.get() : nullptr,
                             scale, nullptr);
            } else {
              const auto term_or_none = [&](std::size_t i) {
                return i < table.size() ? term(i) : View<const S, 2>{};
              };
              cuda::add<S>(out_view, term(0), term_or_none(1), term_or_none(2), nullptr);
            }
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (std::size_t i = 0; i < x[0].size(); ++i) {
              double sum = 0, magnitude = 0;
              for (std::size_t n = 0; n < x.size(); ++n) {
                double term = x[n][i];
                if (std::string(kernel) == "add_n") term *= weighted ? weights[n] : scale;
                sum += term;
                magnitude += std::fabs(term);
              }
              const double roundings = static_cast<double>(weighted ? terms : terms - 1);
              out.push_back(expected<S>(sum, roundings, magnitude));
            }
            return out;
          }};
}

}  // namespace

template <class S>
void add_pointwise_cases(std::vector<Case>& cases) {
  cases.push_back(embedding_case<S>(1, 1, 1, 1));
  cases.push_back(embedding_case<S>(2, 16, 11, 33));
  cases.push_back(embedding_case<S>(2, 16, 11, 33, true));
  cases.push_back(embedding_case<S>(3, 2, 11, 5, true, true));
  cases.push_back(swiglu_case<S, S>(1, 1));
  cases.push_back(swiglu_case<S, S>(13, 70));
  cases.push_back(swiglu_case<S, accum_t<S>>(13, 70));
  for (const bool with_tanh : {false, true}) {
    cases.push_back(gelu_case<S, S>(with_tanh, 1, 1));
    cases.push_back(gelu_case<S, S>(with_tanh, 13, 70));
    cases.push_back(gelu_case<S, accum_t<S>>(with_tanh, 13, 70));
  }
  cases.push_back(add_case<S>("add", 1, 31, 33));
  cases.push_back(add_case<S>("add", 2, 1, 1));
  cases.push_back(add_case<S>("add", 2, 31, 33));
  cases.push_back(add_case<S>("add", 3, 31, 33));
  cases.push_back(add_case<S>("add_n", 1, 31, 33));
  cases.push_back(add_case<S>("add_n", 7, 31, 33));
  cases.push_back(add_case<S>("add_n", 3, 31, 33, true, true));
  cases.push_back(add_case<S>("add_n", 2, 31, 33, false, true));
}
ASSAY_INSTANTIATE_CASES(add_pointwise_cases)

}  // namespace assay::kernel_test
