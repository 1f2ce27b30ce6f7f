// score_gate
#include "cases.h"

namespace assay::kernel_test {
namespace {

constexpr double kEps = 0x1p-20, kScale = 0.25;

struct Shape {
  int64_t N, D, m, outputs;
};

// exp(g) is off by the error of g times itself. g's error: that of each inner feature (its chain of
// D/32 and the norm, four products) through w2, and its own chain of m.
template <class S>
Case gate_case(const Shape& s) {
  const auto [N, D, m, outputs] = s;
  const Values h = random_values<S>(N * D, 1), norm = random_values<S>(D, 2);
  const Values w1 = random_values<S>(m * D, 3, 0.3), w2 = random_values<S>(outputs * m, 4, 0.5);
  const Values bias = random_values<S>(outputs, 5);
  return {"score_gate", shape_of("N D m outputs", N, D, m, outputs),
          [=] {
            const auto g_h = upload<S>(h), g_norm = upload<S>(norm), g_w1 = upload<S>(w1),
                       g_w2 = upload<S>(w2), g_bias = upload<S>(bias);
            const simt::Buffer<accum_t<S>> factors(at(N * outputs));
            cuda::score_gate<S>({factors.get(), {N, outputs}}, {g_h.get(), {N, D}},
                                {.norm = {g_norm.get(), {D}},
                                 .bias = {g_bias.get(), {outputs}},
                                 .w1 = {g_w1.get(), {m, D}},
                                 .w2 = {g_w2.get(), {outputs, m}}},
                                kEps, kScale, nullptr);
            Values out;
            download(factors, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            const double chain = std::ceil(static_cast<double>(D) / 32) + 5;
            for (int64_t n = 0; n < N; ++n) {
              double sum_sq = 0;
              for (int64_t d = 0; d < D; ++d) sum_sq += h[at(n * D + d)] * h[at(n * D + d)];
              const double rms = std::sqrt(sum_sq / static_cast<double>(D) + kEps);
              Values inner, slack;
              for (int64_t i = 0; i < m; ++i) {
                double sum = 0, size = 0;
                for (int64_t d = 0; d < D; ++d) {
                  const double term = w1[at(i * D + d)] * norm[at(d)] * h[at(n * D + d)] / rms;
                  sum += term;
                  size += std::fabs(term);
                }
                inner.push_back(0.5 * sum * (1 + std::erf(sum / std::sqrt(2.0))));
                // |gelu'| stays below 1.13; gelu's own 12 units of its argument
                slack.push_back(1.13 * (1.5 * chain + 8) * size + 12 * std::fabs(sum));
              }
              for (int64_t o = 0; o < outputs; ++o) {
                double g = bias[at(o)], error = 2 * std::fabs(g);
                for (int64_t i = 0; i < m; ++i) {
                  const double w = w2[at(o * m + i)];
                  g += w * inner[at(i)];
                  error += std::fabs(w) * (slack[at(i)] + 9 * std::fabs(inner[at(i)]));
                }
                const double value = kScale * std::exp(g);
                out.push_back(expected<S, accum_t<S>>(value, 4 + std::fabs(g) + error, value));
              }
            }
            return out;
          }};
}

}  // namespace

// 33 features stand in two registers of a lane.
template <class S>
void add_gate_cases(std::vector<Case>& cases) {
  cases.push_back(gate_case<S>({1, 1, 1, 1}));
  cases.push_back(gate_case<S>({7, 33, 3, 1}));
  cases.push_back(gate_case<S>({5, 70, 33, 33}));
}
ASSAY_INSTANTIATE_CASES(add_gate_cases)

}  // namespace assay::kernel_test
