// product
#include "cases.h"

namespace assay::kernel_test {
namespace {

// Roundings: one per product and one per addition of the chain of K, and of the bias.
template <class S, class Out>
Case product_case(int64_t N, int64_t M, int64_t K, bool with_bias = false) {
  const Values bias = with_bias ? random_values<S>(M, 3) : Values(at(M), 0.0);
  const Values x = random_values<S>(N * K, 1), w = random_values<S>(M * K, 2);
  return {"product", shape_of("N M K bias", N, M, K, with_bias),
          [=] {
            const auto g_x = upload<S>(x), g_w = upload<S>(w), g_bias = upload<S>(bias);
            const View<const S, 1> bias_view{g_bias.get(), {M}};
            const simt::Buffer<Out> y(at(N * M));
            cuda::product<S>(View<Out, 2>{y.get(), {N, M}}, {g_x.get(), {N, K}},
                             {g_w.get(), {M, K}}, with_bias ? bias_view : View<const S, 1>{},
                             nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
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

}  // namespace

// At least two tiles (64) in each direction and two steps (32) of k somewhere, with ragged ends.
template <class S>
void add_product_cases(std::vector<Case>& cases) {
  cases.push_back(product_case<S, S>(1, 1, 1));
  cases.push_back(product_case<S, S>(33, 31, 70));
  cases.push_back(product_case<S, S>(70, 129, 33));
  cases.push_back(product_case<S, S>(64, 64, 64));
  cases.push_back(product_case<S, S>(33, 70, 20, true));
  if (!std::is_same_v<S, accum_t<S>>) cases.push_back(product_case<S, accum_t<S>>(65, 20, 40));
}
ASSAY_INSTANTIATE_CASES(add_product_cases)

}  // namespace assay::kernel_test
