// swiglu_backward, gelu_backward, rope_backward, merge_heads
#include "cases.h"

namespace assay::kernel_test {
namespace {

// Roundings: of s the exponential (2), the sum, the quotient; 1 - s is off by those of s <= 1; the
// remaining products and sums.
template <class S, class Operand>
Case swiglu_backward_case(int64_t N, int64_t F) {
  const Values gate = random_values<Operand>(N * F, 2, 6.0), up = random_values<Operand>(N * F, 3);
  const Values dact = random_values<S>(N * F, 4);
  return {"swiglu_backward", shape_of("N F", N, F),
          [=] {
            const auto g_gate = upload<Operand>(gate), g_up = upload<Operand>(up);
            const auto dup = upload<S>(dact);  // dup lies over dact
            const simt::Buffer<S> dgate(at(N * F));
            cuda::swiglu_backward<S, Operand>({dgate.get(), {N, F}}, {dup.get(), {N, F}},
                                              {dup.get(), {N, F}}, {g_gate.get(), {N, F}},
                                              {g_up.get(), {N, F}}, nullptr);
            Values out;
            download(dgate, out);
            download(dup, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (std::size_t i = 0; i < gate.size(); ++i) {
              const double g = gate[i], s = 1 / (1 + std::exp(-g));
              const double value = dact[i] * up[i] * s * (1 + g * (1 - s));
              const double magnitude = std::fabs(dact[i] * up[i] * s) * (1 + std::fabs(g));
              out.push_back(expected<S>(value, 14, magnitude));
            }
            for (std::size_t i = 0; i < gate.size(); ++i) {
              const double value = dact[i] * gate[i] / (1 + std::exp(-gate[i]));
              out.push_back(expected<S>(value, 6, std::fabs(value)));
            }
            return out;
          }};
}

// Roundings: the odd part, of size <= 1, with 4 of its own and 4 through its argument
// (reference/ops/gelu.cpp), is squared in the tanh form; some 6 for its slope, which has exponents
// of up to x^2 / 2 as well; the sums and products.
template <class S, class Operand>
Case gelu_backward_case(int64_t N, int64_t F, bool tanh_form) {
  const Values x = random_values<Operand>(N * F, 2, 5.0), dy = random_values<S>(N * F, 3);
  return {tanh_form ? "gelu_tanh_backward" : "gelu_backward", shape_of("N F", N, F),
          [=] {
            const auto g_x = upload<Operand>(x);
            const auto dx = upload<S>(dy);  // dx lies over dy
            cuda::gelu_backward<S, Operand>({dx.get(), {N, F}}, {dx.get(), {N, F}},
                                            {g_x.get(), {N, F}}, tanh_form, nullptr);
            Values out;
            download(dx, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            const double k = std::sqrt(2 / M_PI);
            for (std::size_t i = 0; i < x.size(); ++i) {
              const double z = x[i], inner = k * (1 + 3 * 0.044715 * z * z);
              const double odd =
                  tanh_form ? std::tanh(k * (z + 0.044715 * z * z * z)) : std::erf(z / M_SQRT2);
              const double odd_slope =
                  tanh_form ? (1 - odd * odd) * inner : k * std::exp(-z * z / 2);
              const double value = dy[i] * (0.5 * (1 + odd) + 0.5 * z * odd_slope);
              // 1 - odd^2 is off by twice the error of odd, whatever is left of it
              const double slope_error =
                  tanh_form ? 18 * inner + 6 * odd_slope : (6 + z * z) * odd_slope;
              const double error = 0.5 * 8 + 0.5 * std::fabs(z) * (slope_error + 2 * odd_slope) +
                                   2 * (1 + std::fabs(z) * odd_slope);
              out.push_back(expected<S>(value, 1, std::fabs(dy[i]) * error));
            }
            return out;
          }};
}

// out [B,T,H*Dh] of y [B,H,T,Dh]: value(index of y's head, t, d)
template <class Value>
std::vector<Expected> merged(int64_t B, int64_t H, int64_t T, int64_t Dh, const Value& value) {
  std::vector<Expected> out;
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 0; t < T; ++t)
      for (int64_t h = 0; h < H; ++h)
        for (int64_t d = 0; d < Dh; ++d) out.push_back(value(((b * H + h) * T + t) * Dh, t, d));
  return out;
}

template <class S>
Case rope_backward_case(int64_t B, int64_t H, int64_t T, int64_t Dh) {
  using A = accum_t<S>;
  const int64_t half = Dh / 2;
  const Values dy = random_values<A>(B * H * T * Dh, 1);
  // Any numbers will do for cosines and sines; their squares need not add up to 1.
  const Values cosines = random_values<A>(T * half, 2), sines = random_values<A>(T * half, 3);
  return {
      "rope_backward", shape_of("B H T Dh", B, H, T, Dh),
      [=] {
        const auto g_dy = upload<A>(dy), g_cosines = upload<A>(cosines), g_sines = upload<A>(sines);
        const simt::Buffer<S> dx(dy.size());
        cuda::rope_backward<S>({dx.get(), {B, T, H * Dh}}, {g_dy.get(), {B, H, T, Dh}},
                               {g_cosines.get(), {T, half}}, {g_sines.get(), {T, half}}, nullptr);
        Values out;
        download(dx, out);
        return out;
      },
      [=] {
        return merged(B, H, T, Dh, [&](int64_t head, int64_t t, int64_t d) {
          const bool second = d >= half;
          const double straight = dy[at(head + d)] * cosines[at(t * half + d % half)];
          const double crossed = dy[at(head + (second ? d - half : d + half))] *
                                 sines[at(t * half + d % half)] * (second ? -1 : 1);
          return expected<S>(straight + crossed, 2, std::fabs(straight) + std::fabs(crossed));
        });
      }};
}

// x is columns of an array that is `beside` columns wider; what lies there stays.
template <class S>
Case merge_heads_case(int64_t B, int64_t H, int64_t T, int64_t Dh, int64_t beside) {
  const Values y = random_values<accum_t<S>>(B * H * T * Dh, 1);
  const int64_t columns = H * Dh, row = columns + beside;
  return {"merge_heads", shape_of("B H T Dh beside", B, H, T, Dh, beside),
          [=] {
            const auto g_y = upload<accum_t<S>>(y);
            const auto x = upload<S>(Values(at(B * T * row), 7.0));
            cuda::merge_heads<S>({x.get(), {B, T, columns}}, {g_y.get(), {B, H, T, Dh}}, nullptr,
                                 beside == 0 ? 0 : row);
            Values out;
            download(x, out);
            return out;
          },
          [=] {
            const std::vector<Expected> heads =
                merged(B, H, T, Dh, [&](int64_t head, int64_t, int64_t d) {
                  return expected<S>(y[at(head + d)], 0, 0);
                });
            std::vector<Expected> out;
            for (int64_t n = 0; n < B * T; ++n) {
              const auto from = heads.begin() + n * columns;
              out.insert(out.end(), from, from + columns);
              out.insert(out.end(), at(beside), Expected{7.0, 0.0});
            }
            return out;
          }};
}

}  // namespace

template <class S>
void add_pointwise_backward_cases(std::vector<Case>& cases) {
  constexpr int64_t N = kSmall ? 3 : 13;  // no thread of these meets another
  cases.push_back(swiglu_backward_case<S, S>(1, 1));
  cases.push_back(swiglu_backward_case<S, S>(N, 70));
  cases.push_back(swiglu_backward_case<S, accum_t<S>>(N, 40));
  for (const bool tanh_form : {false, true}) {
    cases.push_back(gelu_backward_case<S, S>(1, 1, tanh_form));
    cases.push_back(gelu_backward_case<S, S>(N, 70, tanh_form));
    cases.push_back(gelu_backward_case<S, accum_t<S>>(N, 40, tanh_form));
  }
  cases.push_back(rope_backward_case<S>(1, 1, 1, 2));
  cases.push_back(rope_backward_case<S>(2, 3, kSmall ? 2 : 7, 20));
  cases.push_back(merge_heads_case<S>(1, 1, 1, 1, 0));
  cases.push_back(merge_heads_case<S>(2, 3, kSmall ? 2 : 7, 20, 5));
}
ASSAY_INSTANTIATE_CASES(add_pointwise_backward_cases)

}  // namespace assay::kernel_test
