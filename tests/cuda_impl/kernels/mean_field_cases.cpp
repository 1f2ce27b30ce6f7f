// gemm_nn_sum, label_scores, softmax_step, softmax_step_backward
#include "cuda_impl/kernels/mean_field.h"

#include "cases.h"

namespace assay::kernel_test {
namespace {

// Roundings: the products and their chain, and the scale.
template <class S>
Case gemm_nn_sum_case(int64_t N, int64_t P, int64_t D, bool both) {
  using A = accum_t<S>;
  const double scale = 1.3;
  const Values x1 = random_values<A>(N * P, 1), x2 = random_values<A>(N * P, 2);
  const Values w1 = random_values<S>(P * D, 3), w2 = random_values<S>(P * D, 4);
  return {"gemm_nn_sum", shape_of("N P D both", N, P, D, both),
          [=] {
            const auto g_x1 = upload<A>(x1), g_x2 = upload<A>(x2);
            const auto g_w1 = upload<S>(w1), g_w2 = upload<S>(w2);
            const simt::Buffer<S> y(at(N * D));
            cuda::gemm_nn_sum<S>({y.get(), {N, D}}, {g_x1.get(), {N, P}}, {g_w1.get(), {P, D}},
                                 {both ? g_x2.get() : nullptr, {N, P}}, {g_w2.get(), {P, D}}, scale,
                                 nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t n = 0; n < N; ++n)
              for (int64_t d = 0; d < D; ++d) {
                double sum = 0, magnitude = 0;
                for (int64_t p = 0; p < P; ++p) {
                  const double first = x1[at(n * P + p)] * w1[at(p * D + d)];
                  const double second = both ? x2[at(n * P + p)] * w2[at(p * D + d)] : 0;
                  sum += scale * (first + second);
                  magnitude += scale * (std::fabs(first) + std::fabs(second));
                }
                out.push_back(expected<S>(sum, static_cast<double>(2 * P + 3), magnitude));
              }
            return out;
          }};
}

// The outputs are scores and, with damping, the message. Roundings: two sums, coefficients and
// products, the scale.
template <class S>
Case label_scores_case(int64_t N, int64_t D, double damping, bool first) {
  using A = accum_t<S>;
  const double scale = 0.7;
  const Values unary = random_values<S>(N * D, 1), sum = random_values<S>(N * D, 2);
  const Values before = random_values<A>(N * D, 3);
  return {"label_scores", shape_of("N D damped first", N, D, damping != 0, first),
          [=] {
            const auto g_unary = upload<S>(unary), g_sum = upload<S>(sum);
            const auto message = upload<A>(before);
            const simt::Buffer<S> scores(at(N * D));
            cuda::label_scores<S>(
                {scores.get(), {N, D}}, {damping == 0 ? nullptr : message.get(), {N, D}},
                {g_unary.get(), {N, D}}, {g_sum.get(), {N, D}}, damping, first, scale, nullptr);
            Values out;
            download(scores, out);
            download(message, out);
            return out;
          },
          [=] {
            std::vector<Expected> scores, messages;
            for (std::size_t i = 0; i < unary.size(); ++i) {
              const double old = first ? unary[i] : before[i];
              const double value = (1 - damping) * (unary[i] + sum[i]) + damping * old;
              const double magnitude = (1 - damping) * (std::fabs(unary[i]) + std::fabs(sum[i])) +
                                       damping * std::fabs(old);
              scores.push_back(expected<S>(scale * value, 6, scale * magnitude));
              messages.push_back(damping == 0 ? Expected{before[i], 0}
                                              : expected<S, A>(value, 4, magnitude));
            }
            scores.insert(scores.end(), messages.begin(), messages.end());
            return scores;
          }};
}

struct Rows {
  int64_t N, D;
  Values probs;      // softmax of x
  double roundings;  // of one of them: exponentials of up to 20, their sum, the quotient
};

Rows softmax_of(const Values& x, int64_t N, int64_t D) {
  Rows rows{N, D, Values(x.size()), 30 + std::ceil(static_cast<double>(D) / 32)};
  for (int64_t n = 0; n < N; ++n) {
    double sum = 0;
    for (int64_t d = 0; d < D; ++d) sum += rows.probs[at(n * D + d)] = std::exp(x[at(n * D + d)]);
    for (int64_t d = 0; d < D; ++d) rows.probs[at(n * D + d)] /= sum;
  }
  return rows;
}

template <class S>
Case softmax_step_case(int64_t N, int64_t D, double step) {
  const Values x = random_values<S>(N * D, 1, 9.0), before = random_values<S>(N * D, 2);
  return {"softmax_step", shape_of("N D full", N, D, step == 1),
          [=] {
            const auto g_x = upload<S>(x), g_before = upload<S>(before);
            const simt::Buffer<S> y(at(N * D));
            cuda::softmax_step<S>({y.get(), {N, D}}, {step == 1 ? nullptr : g_before.get(), {N, D}},
                                  {g_x.get(), {N, D}}, step, nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            const Rows rows = softmax_of(x, N, D);
            std::vector<Expected> out;
            for (std::size_t i = 0; i < x.size(); ++i) {
              const double fresh = step * rows.probs[i], kept = (1 - step) * before[i];
              out.push_back(expected<S>(kept + fresh, rows.roundings + 3, fresh + std::fabs(kept)));
            }
            return out;
          }};
}

// The outputs are dm and dy.
template <class S>
Case softmax_step_backward_case(int64_t N, int64_t D, double step, double carry, bool with_dx) {
  using A = accum_t<S>;
  const double scale = 1.3;
  const Values x = random_values<S>(N * D, 1, 9.0), dm = random_values<A>(N * D, 2);
  const Values dy = random_values<A>(N * D, 3), dx = random_values<A>(N * D, 4);
  return {"softmax_step_backward", shape_of("N D full dx", N, D, step == 1, with_dx),
          [=] {
            const auto g_x = upload<S>(x);
            const auto g_dm = upload<A>(dm), g_dy = upload<A>(dy), g_dx = upload<A>(dx);
            cuda::softmax_step_backward<S>({g_dm.get(), {N, D}}, {g_dy.get(), {N, D}},
                                           {with_dx ? g_dx.get() : nullptr, {N, D}},
                                           {g_x.get(), {N, D}}, step, scale, carry, nullptr);
            Values out;
            download(g_dm, out);
            download(g_dy, out);
            return out;
          },
          [=] {
            const Rows rows = softmax_of(x, N, D);
            std::vector<Expected> out;
            for (int64_t n = 0; n < N; ++n) {
              double mean = 0, mean_magnitude = 0;
              for (int64_t d = 0; d < D; ++d) {
                const double term = rows.probs[at(n * D + d)] * dy[at(n * D + d)];
                mean += term;
                mean_magnitude += std::fabs(term);
              }
              for (int64_t d = 0; d < D; ++d) {
                const std::size_t i = at(n * D + d);
                const double more = with_dx ? dx[i] : 0, p = step * rows.probs[i];
                const double value = carry * dm[i] + scale * (more + p * (dy[i] - mean));
                const double magnitude =
                    std::fabs(carry * dm[i]) +
                    scale * (std::fabs(more) + p * (std::fabs(dy[i]) + mean_magnitude));
                out.push_back(expected<S, A>(value, 2 * rows.roundings + 8, magnitude));
              }
            }
            for (const double value : dy) {
              out.push_back(expected<S, A>((1 - step) * value, 2, std::fabs(value)));
            }
            return out;
          }};
}

}  // namespace

// gemm_nn_sum has tiles of 32 rows, columns and steps.
template <class S>
void add_mean_field_cases(std::vector<Case>& cases) {
  cases.push_back(gemm_nn_sum_case<S>(1, 1, 1, false));
  cases.push_back(gemm_nn_sum_case<S>(33, 70, 31, false));
  cases.push_back(gemm_nn_sum_case<S>(31, 33, 65, true));
  cases.push_back(label_scores_case<S>(1, 1, 0, true));
  cases.push_back(label_scores_case<S>(13, 33, 0, false));
  cases.push_back(label_scores_case<S>(13, 33, 0.3, true));
  cases.push_back(label_scores_case<S>(13, 33, 0.3, false));
  cases.push_back(softmax_step_case<S>(1, 1, 1));
  cases.push_back(softmax_step_case<S>(5, 70, 1));
  cases.push_back(softmax_step_case<S>(5, 31, 0.6));
  cases.push_back(softmax_step_backward_case<S>(1, 1, 1, 0, false));
  cases.push_back(softmax_step_backward_case<S>(5, 70, 1, 0, true));
  cases.push_back(softmax_step_backward_case<S>(5, 31, 0.6, 0.4, false));
}
ASSAY_INSTANTIATE_CASES(add_mean_field_cases)

}  // namespace assay::kernel_test
