// scaled, accumulate, inner_product
#include "cuda_impl/kernels/backward.h"

#include "cases.h"

namespace assay::kernel_test {
namespace {

constexpr double kScale = 0.3;

// Roundings: the scale's own, the product; accumulate: the sum.
template <class S>
Case scaled_case(int64_t N, int64_t D) {
  const Values x = random_values<accum_t<S>>(N * D, 1, 2.0);
  return {"scaled", shape_of("N D", N, D),
          [=] {
            const auto g_x = upload<accum_t<S>>(x);
            const simt::Buffer<S> y(at(N * D));
            cuda::scaled<S>({y.get(), {N, D}}, {g_x.get(), {N, D}}, kScale, nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (const double value : x) {
              out.push_back(expected<S>(kScale * value, 2, std::fabs(kScale * value)));
            }
            return out;
          }};
}

template <class A>
Case accumulate_case(int64_t N, int64_t D) {
  const Values x = random_values<A>(N * D, 1, 2.0), y = random_values<A>(N * D, 2);
  return {"accumulate", shape_of("N D", N, D),
          [=] {
            const auto g_x = upload<A>(x), g_y = upload<A>(y);
            cuda::accumulate<A>({g_y.get(), {N, D}}, {g_x.get(), {N, D}}, kScale, nullptr);
            Values out;
            download(g_y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (std::size_t i = 0; i < x.size(); ++i) {
              const double term = kScale * x[i];
              out.push_back(expected<A>(y[i] + term, 3, std::fabs(y[i]) + std::fabs(term)));
            }
            return out;
          }};
}

// Roundings: the product, and the chains of a row and of the rows with what stood there.
template <class S>
Case inner_product_case(int64_t N, int64_t D) {
  using A = accum_t<S>;
  constexpr double kBefore = 0.75;
  const Values x = random_values<A>(N * D, 1), y = random_values<S>(N * D, 2);
  return {"inner_product", shape_of("N D", N, D),
          [=] {
            const auto g_x = upload<A>(x);
            const auto g_y = upload<S>(y);
            const simt::Buffer<A> parts(at(N)), sum = upload<A>({kBefore});
            cuda::inner_product<S>({sum.get(), {1}}, {parts.get(), {N}}, {g_x.get(), {N, D}},
                                   {g_y.get(), {N, D}}, nullptr);
            Values out;
            download(sum, out);
            return out;
          },
          [=] {
            double sum = kBefore, magnitude = kBefore;
            for (std::size_t i = 0; i < x.size(); ++i) {
              sum += x[i] * y[i];
              magnitude += std::fabs(x[i] * y[i]);
            }
            const double chain = std::ceil(static_cast<double>(D) / 32) +
                                 std::ceil(static_cast<double>(N) / 32) + 12;
            return std::vector<Expected>{expected<S, A>(sum, chain, magnitude)};
          }};
}

}  // namespace

template <class S>
void add_stream_cases(std::vector<Case>& cases) {
  cases.push_back(scaled_case<S>(1, 1));
  cases.push_back(scaled_case<S>(31, 33));
  cases.push_back(accumulate_case<accum_t<S>>(31, 33));
  cases.push_back(inner_product_case<S>(1, 1));
  cases.push_back(inner_product_case<S>(35, 70));
}
ASSAY_INSTANTIATE_CASES(add_stream_cases)

}  // namespace assay::kernel_test
