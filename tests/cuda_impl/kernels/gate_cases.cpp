// score_gate, score_gate_backward
#include "cuda_impl/kernels/backward.h"

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

// With what stands in front of each sum: z's norm (chain/2 + 8), pre's chain over D and z's error,
// inner and its slope to 12 units and through pre (|GELU''| < 1.1), dinner's chain, dz's chain over
// m.
template <class S>
Case gate_backward_case(const Shape& s) {
  using A = accum_t<S>;
  const auto [N, D, m, outputs] = s;
  const Values h = random_values<S>(N * D, 1), norm = random_values<S>(D, 2);
  const Values w1 = random_values<S>(m * D, 3, 0.3), w2 = random_values<S>(outputs * m, 4, 0.5);
  const Values factors = random_values<A>(N * outputs, 5),
               dfactors = random_values<A>(N * outputs, 6);
  return {"score_gate_backward", shape_of("N D m outputs", N, D, m, outputs),
          [=] {
            const auto g_h = upload<S>(h), g_norm = upload<S>(norm), g_w1 = upload<S>(w1),
                       g_w2 = upload<S>(w2), g_bias = upload<S>(Values(at(outputs), 0.0));
            const auto g_factors = upload<A>(factors), g_dfactors = upload<A>(dfactors);
            const simt::Buffer<A> dg(at(N * outputs)), inner(at(N * m)), dpre(at(N * m)),
                z(at(N * D)), dz(at(N * D));
            cuda::score_gate_backward<S>({.dg = {dg.get(), {N, outputs}},
                                          .inner = {inner.get(), {N, m}},
                                          .dpre = {dpre.get(), {N, m}},
                                          .z = {z.get(), {N, D}},
                                          .dz = {dz.get(), {N, D}}},
                                         {g_dfactors.get(), {N, outputs}},
                                         {g_factors.get(), {N, outputs}}, {g_h.get(), {N, D}},
                                         {.norm = {g_norm.get(), {D}},
                                          .bias = {g_bias.get(), {outputs}},
                                          .w1 = {g_w1.get(), {m, D}},
                                          .w2 = {g_w2.get(), {outputs, m}}},
                                         kEps, nullptr);
            Values out;
            for (const auto* array : {&dg, &inner, &dpre, &z, &dz}) download(*array, out);
            return out;
          },
          [=] {
            std::vector<Expected> dg, inner, dpre, z, dz;
            const double chain = std::ceil(static_cast<double>(D) / 32) + 5;
            const auto of = [](double value, double units) {
              return expected<S, A>(value, 1, units);
            };
            for (int64_t n = 0; n < N; ++n) {
              double sum_sq = 0;
              for (int64_t d = 0; d < D; ++d) sum_sq += h[at(n * D + d)] * h[at(n * D + d)];
              const double rms = std::sqrt(sum_sq / static_cast<double>(D) + kEps);
              const auto z_at = [&](int64_t d) { return norm[at(d)] * h[at(n * D + d)] / rms; };
              for (int64_t d = 0; d < D; ++d) {
                z.push_back(of(z_at(d), (chain / 2 + 8) * std::fabs(z_at(d))));
              }
              for (int64_t o = 0; o < outputs; ++o) {
                const double value = factors[at(n * outputs + o)] * dfactors[at(n * outputs + o)];
                dg.push_back(of(value, std::fabs(value)));
              }
              Values slopes, errors;  // dpre, and units of its error
              for (int64_t i = 0; i < m; ++i) {
                double pre = 0, size = 0, dinner = 0, dinner_size = 0;
                for (int64_t d = 0; d < D; ++d) {
                  pre += w1[at(i * D + d)] * z_at(d);
                  size += std::fabs(w1[at(i * D + d)] * z_at(d));
                }
                for (int64_t o = 0; o < outputs; ++o) {
                  const double term = w2[at(o * m + i)] * dg[at(n * outputs + o)].value;
                  dinner += term;
                  dinner_size += std::fabs(term);
                }
                const double pre_error = (1.5 * chain + 10) * size;
                const double half = 0.5 * (1 + std::erf(pre / std::sqrt(2.0)));
                const double slope =
                    half + pre * std::exp(-pre * pre / 2) / std::sqrt(2 * std::acos(-1.0));
                inner.push_back(of(pre * half, 1.13 * pre_error + 12 * std::fabs(pre)));
                slopes.push_back(dinner * slope);
                errors.push_back(static_cast<double>(outputs + 3) * dinner_size * 1.13 +
                                 std::fabs(dinner) * (1.1 * pre_error + 14));
                dpre.push_back(of(slopes.back(), errors.back()));
              }
              for (int64_t d = 0; d < D; ++d) {
                double sum = 0, error = 0;
                for (int64_t i = 0; i < m; ++i) {
                  const double w = w1[at(i * D + d)];
                  sum += w * slopes[at(i)];
                  error += std::fabs(w) *
                           (errors[at(i)] + static_cast<double>(m + 1) * std::fabs(slopes[at(i)]));
                }
                dz.push_back(of(sum, error));
              }
            }
            std::vector<Expected> out;
            for (const auto* part : {&dg, &inner, &dpre, &z, &dz}) {
              out.insert(out.end(), part->begin(), part->end());
            }
            return out;
          }};
}

}  // namespace

// 33 features stand in two registers of a lane.
template <class S>
void add_gate_cases(std::vector<Case>& cases) {
  for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{7, 33, 3, 1}, Shape{5, 70, 33, 33}}) {
    cases.push_back(gate_case<S>(shape));
    cases.push_back(gate_backward_case<S>(shape));
  }
}
ASSAY_INSTANTIATE_CASES(add_gate_cases)

}  // namespace assay::kernel_test
