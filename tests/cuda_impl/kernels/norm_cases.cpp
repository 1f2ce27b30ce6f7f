// rms_norm, rms_norm_of_sum, layer_norm, add_rms_norm, add_layer_norm
#include "cases.h"

namespace assay::kernel_test {
namespace {

constexpr double kEps = 1e-5;

// Roundings: the sum of squares (its chain and the square; the root halves them), the mean, + eps,
// the root, its inverse, two products; with an addend its sum, twice.
template <class S>
Case rms_norm_case(int64_t N, int64_t D, bool with_addend) {
  const Values x = random_values<S>(N * D, 1, 2.0), addend = random_values<S>(N * D, 2, 2.0);
  const Values gain = random_values<S>(D, 3);
  return {with_addend ? "rms_norm_of_sum" : "rms_norm", shape_of("N D", N, D),
          [=] {
            const auto g_x = upload<S>(x), g_addend = upload<S>(addend), g_gain = upload<S>(gain);
            const simt::Buffer<S> y(at(N * D));
            const View<S, 2> out_view{y.get(), {N, D}};
            const View<const S, 2> x_view{g_x.get(), {N, D}}, addend_view{g_addend.get(), {N, D}};
            if (with_addend) {
              cuda::rms_norm_of_sum<S>(out_view, x_view, addend_view, {g_gain.get(), {D}}, kEps,
                                       nullptr);
            } else {
              cuda::rms_norm<S>(out_view, x_view, {g_gain.get(), {D}}, kEps, nullptr);
            }
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t n = 0; n < N; ++n) {
              const auto z = [&](int64_t d) {
                return x[at(n * D + d)] + (with_addend ? addend[at(n * D + d)] : 0.0);
              };
              double sum_sq = 0;
              for (int64_t d = 0; d < D; ++d) sum_sq += z(d) * z(d);
              const double rms = std::sqrt(sum_sq / static_cast<double>(D) + kEps);
              const double chain = std::ceil(static_cast<double>(D) / 32) + 5;
              for (int64_t d = 0; d < D; ++d) {
                const double value = z(d) / rms * gain[at(d)];
                out.push_back(expected<S>(value, chain / 2 + 8, std::fabs(value)));
              }
            }
            return out;
          }};
}

// y = gain (z - mean) / deviation + bias. The mean is off by (chain + 1) units of mean|z|, which
// moves the numerator by as much and the deviation in second order; the deviation's own roundings
// are (chain + 8)/2, then three products and sums.
template <class S>
Case layer_norm_case(int64_t N, int64_t D, bool with_addend) {
  const Values x = random_values<S>(N * D, 1, 2.0), addend = random_values<S>(N * D, 2, 2.0);
  const Values gain = random_values<S>(D, 3), bias = random_values<S>(D, 4);
  return {"layer_norm", shape_of("N D addend", N, D, with_addend),
          [=] {
            const auto g_x = upload<S>(x), g_addend = upload<S>(addend), g_gain = upload<S>(gain),
                       g_bias = upload<S>(bias);
            const simt::Buffer<S> y(at(N * D));
            const View<const S, 2> addend_view{g_addend.get(), {N, D}};
            cuda::layer_norm<S>({y.get(), {N, D}}, {g_x.get(), {N, D}},
                                with_addend ? addend_view : View<const S, 2>{}, {g_gain.get(), {D}},
                                {g_bias.get(), {D}}, kEps, nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            const double count = static_cast<double>(D), chain = std::ceil(count / 32) + 5;
            for (int64_t n = 0; n < N; ++n) {
              const auto z = [&](int64_t d) {
                return x[at(n * D + d)] + (with_addend ? addend[at(n * D + d)] : 0.0);
              };
              double sum = 0, size = 0, sum_sq = 0;
              for (int64_t d = 0; d < D; ++d) sum += z(d), size += std::fabs(z(d));
              const double mean = sum / count, mean_size = size / count;
              for (int64_t d = 0; d < D; ++d) sum_sq += (z(d) - mean) * (z(d) - mean);
              const double deviation = std::sqrt(sum_sq / count + kEps);
              // The error of the mean, seen in units of the deviation.
              const double shift = (chain + 2) * (mean_size + std::fabs(mean)) / deviation;
              for (int64_t d = 0; d < D; ++d) {
                const double normal = (z(d) - mean) / deviation;
                const double size_d = std::fabs(z(d)) / deviation;
                const double slack = (shift * (1 + std::fabs(normal)) + 2 * size_d +
                                      (chain / 2 + 8) * std::fabs(normal)) *
                                         std::fabs(gain[at(d)]) +
                                     2 * std::fabs(bias[at(d)]);
                out.push_back(expected<S>(normal * gain[at(d)] + bias[at(d)], 1, slack));
              }
            }
            return out;
          }};
}

// In one pass what two launches give, bit for bit.
template <class S>
Case add_norm_case(bool is_layer_norm, int64_t N, int64_t D) {
  const Values x = random_values<S>(N * D, 1, 2.0), addend = random_values<S>(N * D, 2, 2.0);
  const Values gain = random_values<S>(D, 3), bias = random_values<S>(D, 4);
  const auto run = [=](bool in_one_pass) {
    const auto g_x = upload<S>(x), g_addend = upload<S>(addend), g_gain = upload<S>(gain),
               g_bias = upload<S>(bias);
    const simt::Buffer<S> sum(at(N * D)), y(at(N * D));
    const View<S, 2> sum_view{sum.get(), {N, D}}, y_view{y.get(), {N, D}};
    const View<const S, 2> x_view{g_x.get(), {N, D}}, addend_view{g_addend.get(), {N, D}};
    const View<const S, 1> gains{g_gain.get(), {D}}, biases{g_bias.get(), {D}};
    if (in_one_pass && is_layer_norm) {
      cuda::add_layer_norm<S>(sum_view, y_view, x_view, addend_view, gains, biases, kEps, nullptr);
    } else if (in_one_pass) {
      cuda::add_rms_norm<S>(sum_view, y_view, x_view, addend_view, gains, kEps, nullptr);
    } else {
      cuda::add<S>(sum_view, x_view, addend_view, {}, nullptr);
      if (is_layer_norm) {
        cuda::layer_norm<S>(y_view, sum_view, {}, gains, biases, kEps, nullptr);
      } else {
        cuda::rms_norm<S>(y_view, sum_view, gains, kEps, nullptr);
      }
    }
    Values out;
    download(sum, out);
    download(y, out);
    return out;
  };
  return {is_layer_norm ? "add_layer_norm" : "add_rms_norm", shape_of("N D", N, D),
          [=] { return run(true); },
          [=] {
            std::vector<Expected> out;
            for (const double value : run(false)) out.push_back({value, 0.0});
            return out;
          }};
}

}  // namespace

template <class S>
void add_norm_cases(std::vector<Case>& cases) {
  for (const bool with_addend : {false, true}) {
    cases.push_back(rms_norm_case<S>(1, 1, with_addend));
    cases.push_back(rms_norm_case<S>(3, 20, with_addend));
    cases.push_back(rms_norm_case<S>(5, 33, with_addend));
    cases.push_back(rms_norm_case<S>(33, 70, with_addend));
    cases.push_back(layer_norm_case<S>(1, 1, with_addend));
    cases.push_back(layer_norm_case<S>(5, 33, with_addend));
    cases.push_back(layer_norm_case<S>(33, 70, with_addend));
    cases.push_back(add_norm_case<S>(with_addend, 33, 70));
  }
}
ASSAY_INSTANTIATE_CASES(add_norm_cases)

}  // namespace assay::kernel_test
