// rms_norm, rms_norm_of_sum
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

}  // namespace

template <class S>
void add_norm_cases(std::vector<Case>& cases) {
  for (const bool with_addend : {false, true}) {
    cases.push_back(rms_norm_case<S>(1, 1, with_addend));
    cases.push_back(rms_norm_case<S>(3, 20, with_addend));
    cases.push_back(rms_norm_case<S>(5, 33, with_addend));
    cases.push_back(rms_norm_case<S>(33, 70, with_addend));
  }
}
ASSAY_INSTANTIATE_CASES(add_norm_cases)

}  // namespace assay::kernel_test
