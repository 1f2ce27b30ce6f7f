// rope, split_heads
#include "cases.h"

namespace assay::kernel_test {
namespace {

template <class S>
Case rope_case(int64_t B, int64_t H, int64_t T, int64_t Dh) {
  using A = accum_t<S>;
  const int64_t half = Dh / 2;
  const Values x = random_values<A>(B * T * H * Dh, 1);  // [B,T,H*Dh]
  Values cosines, sines;                                 // [T,Dh/2]
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle_rad = static_cast<double>(t) / (1.0 + static_cast<double>(i));
      cosines.push_back(static_cast<double>(static_cast<A>(std::cos(angle_rad))));
      sines.push_back(static_cast<double>(static_cast<A>(std::sin(angle_rad))));
    }
  }
  return {"rope", shape_of("B H T Dh", B, H, T, Dh),
          [=] {
            const auto g_x = upload<A>(x), g_cosines = upload<A>(cosines),
                       g_sines = upload<A>(sines);
            const simt::Buffer<S> y(x.size());
            cuda::rope<S>({y.get(), {B, H, T, Dh}}, {g_x.get(), {B, T, H * Dh}},
                          {g_cosines.get(), {T, half}}, {g_sines.get(), {T, half}}, nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t b = 0; b < B; ++b)
              for (int64_t h = 0; h < H; ++h)
                for (int64_t t = 0; t < T; ++t)
                  for (int64_t d = 0; d < Dh; ++d) {
                    const int64_t head = ((b * T + t) * H + h) * Dh;
                    const bool second = d >= half;
                    const double c = cosines[at(t * half + d % half)];
                    const double s = sines[at(t * half + d % half)] * (second ? 1 : -1);
                    const double straight = x[at(head + d)] * c;
                    const double crossed = x[at(head + (second ? d - half : d + half))] * s;
                    out.push_back(expected<S>(straight + crossed, 2,
                                              std::fabs(straight) + std::fabs(crossed)));
                  }
            return out;
          }};
}

template <class S>
Case split_heads_case(int64_t B, int64_t H, int64_t T, int64_t Dh) {
  const Values x = random_values<accum_t<S>>(B * T * H * Dh, 1);
  return {"split_heads", shape_of("B H T Dh", B, H, T, Dh),
          [=] {
            const auto g_x = upload<accum_t<S>>(x);
            const simt::Buffer<S> y(x.size());
            cuda::split_heads<S>({y.get(), {B, H, T, Dh}}, {g_x.get(), {B, T, H * Dh}}, nullptr);
            Values out;
            download(y, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t b = 0; b < B; ++b)
              for (int64_t h = 0; h < H; ++h)
                for (int64_t t = 0; t < T; ++t)
                  for (int64_t d = 0; d < Dh; ++d) {
                    const double value = x[at(((b * T + t) * H + h) * Dh + d)];
                    out.push_back(expected<S>(value, 0, 0));
                  }
            return out;
          }};
}

}  // namespace

template <class S>
void add_head_cases(std::vector<Case>& cases) {
  cases.push_back(rope_case<S>(1, 1, 1, 2));
  cases.push_back(rope_case<S>(2, 3, 7, 20));
  cases.push_back(rope_case<S>(1, 2, 31, 64));
  cases.push_back(split_heads_case<S>(1, 1, 1, 1));
  cases.push_back(split_heads_case<S>(2, 3, 7, 20));
}
ASSAY_INSTANTIATE_CASES(add_head_cases)

}  // namespace assay::kernel_test
