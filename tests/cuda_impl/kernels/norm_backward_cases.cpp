// rms_norm_backward, layer_norm_backward
#include "cases.h"

namespace assay::kernel_test {
namespace {

constexpr double kEps = 1e-5;

struct Shape {
  int64_t N, D;
  bool accumulate;
};

// Additions of a row's sums, and of a weight's: chunks, their total, what was there.
double row_chain(const Shape& s) { return std::ceil(static_cast<double>(s.D) / 32) + 5; }
double weight_chain(const Shape& s) {
  return static_cast<double>(cuda::kRowsPerChunk + cuda::row_chunks(s.N) + 1);
}

// What a gradient of weights holds before.
template <class A>
Values held(int64_t count, uint64_t seed) {
  return random_values<A>(count, seed, 3.0);
}

// Roundings: of r, half of the chain of squares and 4; of the sum along z, its chain and 3; r
// enters three times, five products and a difference follow.
template <class S, class Grad>
std::vector<Expected> rms_norm_gradients(const Shape& s, const Values& z, const Values& gain,
                                         const Values& dy) {
  using A = accum_t<S>;
  const double width = static_cast<double>(s.D), chain = row_chain(s);
  const Values before = held<A>(s.D, 99);
  Values dgain(at(s.D), 0.0), magnitudes(at(s.D), 0.0);
  for (int64_t d = 0; s.accumulate && d < s.D; ++d) {
    dgain[at(d)] = before[at(d)];
    magnitudes[at(d)] = std::fabs(before[at(d)]);
  }
  std::vector<Expected> out;
  for (int64_t n = 0; n < s.N; ++n) {
    double sum_sq = 0, along = 0, along_magnitude = 0;
    for (int64_t d = 0; d < s.D; ++d) {
      const double term = gain[at(d)] * dy[at(n * s.D + d)] * z[at(n * s.D + d)];
      sum_sq += z[at(n * s.D + d)] * z[at(n * s.D + d)];
      along += term / width;
      along_magnitude += std::fabs(term) / width;
    }
    const double r = 1 / std::sqrt(sum_sq / width + kEps);
    for (int64_t d = 0; d < s.D; ++d) {
      const double zd = z[at(n * s.D + d)], dyd = dy[at(n * s.D + d)];
      const double value = r * (gain[at(d)] * dyd - zd * r * r * along);
      const double magnitude =
          r * (std::fabs(gain[at(d)] * dyd) + std::fabs(zd) * r * r * along_magnitude);
      out.push_back(expected<S, Grad>(value, 2.5 * chain + 22, magnitude));
      dgain[at(d)] += dyd * zd * r;
      magnitudes[at(d)] += std::fabs(dyd * zd * r);
    }
  }
  for (int64_t d = 0; d < s.D; ++d) {
    out.push_back(expected<S, A>(dgain[at(d)], weight_chain(s) + chain / 2 + 8, magnitudes[at(d)]));
  }
  return out;
}

template <class S, class Grad>
Case rms_norm_case(const Shape& s, bool with_addend) {
  using A = accum_t<S>;
  const Values x = random_values<S>(s.N * s.D, 1, 2.0),
               addend = random_values<S>(s.N * s.D, 2, 2.0);
  const Values gain = random_values<S>(s.D, 3), dy = random_values<Grad>(s.N * s.D, 4);
  return {
      "rms_norm_backward", shape_of("N D accumulate sum", s.N, s.D, s.accumulate, with_addend),
      [=] {
        const auto [N, D, accumulate] = s;
        const int64_t chunks = cuda::row_chunks(N);
        const auto g_x = upload<S>(x), g_addend = upload<S>(addend), g_gain = upload<S>(gain);
        const auto g_dy = upload<Grad>(dy);
        const simt::Buffer<Grad> dx(at(N * D));
        const auto dgain = upload<A>(held<A>(D, 99));
        const simt::Buffer<A> statistics(at(N)), parts(at(chunks * D));
        const cuda::NormScratch<A> scratch{{statistics.get(), {1, N}}, {parts.get(), {chunks, D}}};
        const View<Grad, 2> dx_view{dx.get(), {N, D}};
        const View<const S, 2> sums{with_addend ? g_addend.get() : nullptr, {N, D}};
        cuda::rms_norm_backward<S>(dx_view, {dgain.get(), {D}}, scratch, {g_dy.get(), {N, D}},
                                   {g_x.get(), {N, D}}, sums, {g_gain.get(), {D}}, kEps, accumulate,
                                   nullptr);
        Values out;
        download(dx, out);
        download(dgain, out);
        return out;
      },
      [=] {
        Values z = x;
        for (std::size_t i = 0; with_addend && i < z.size(); ++i) z[i] += addend[i];
        return rms_norm_gradients<S, Grad>(s, z, gain, dy);
      }};
}

// One row of the layer norm with the bounds of its intermediates, absolute in units of accum_t<S>.
struct Centred {
  Values c, c_errors;  // [D]
  double r = 0;
  double r_error = 0;  // relative

  Centred(const double* x, const Shape& s) {
    const double width = static_cast<double>(s.D), chain = row_chain(s);
    double mean = 0, mean_magnitude = 0, variance = 0, variance_error = 0;
    for (int64_t d = 0; d < s.D; ++d) {
      mean += x[d] / width;
      mean_magnitude += std::fabs(x[d]) / width;
    }
    for (int64_t d = 0; d < s.D; ++d) {
      c.push_back(x[d] - mean);
      c_errors.push_back((chain + 1) * mean_magnitude + std::fabs(c.back()));
      variance += c.back() * c.back() / width;
      variance_error += 2 * std::fabs(c.back()) * c_errors.back() / width;
    }
    r = 1 / std::sqrt(variance + kEps);
    r_error = 0.5 * variance_error * r * r + chain / 2 + 5;
  }
};

// dx of one row, and its terms of dgain.
template <class S, class Grad>
void layer_norm_row(const double* x, const double* dy, const Values& gain, const Shape& s,
                    std::vector<Expected>& dx, Values& dgain, Values& dgain_errors) {
  const double width = static_cast<double>(s.D), chain = row_chain(s);
  const Centred row(x, s);
  double mean_u = 0, mean_u_magnitude = 0, mean_uc = 0, mean_uc_error = 0;
  for (int64_t d = 0; d < s.D; ++d) {
    const double u = gain[at(d)] * dy[d], c = row.c[at(d)];
    mean_u += u / width;
    mean_u_magnitude += std::fabs(u) / width;
    mean_uc += u * c / width;
    mean_uc_error += std::fabs(u) * (row.c_errors[at(d)] + (chain + 3) * std::fabs(c)) / width;
  }
  const double shrink = mean_uc * row.r * row.r;
  const double shrink_error =
      mean_uc_error * row.r * row.r + std::fabs(shrink) * (2 * row.r_error + 2);
  for (int64_t d = 0; d < s.D; ++d) {
    const double u = gain[at(d)] * dy[d], c = row.c[at(d)];
    const double value = row.r * (u - mean_u - c * shrink);
    const double magnitude = std::fabs(u) + mean_u_magnitude + std::fabs(c * shrink);
    const double error =
        row.r * (3 * magnitude + (chain + 2) * mean_u_magnitude + std::fabs(c) * shrink_error +
                 row.c_errors[at(d)] * std::fabs(shrink)) +
        std::fabs(value) * (row.r_error + 1);
    dx.push_back(expected<S, Grad>(value, 1, error));
    const double term = dy[d] * c * row.r;
    dgain[at(d)] += term;
    dgain_errors[at(d)] += std::fabs(dy[d]) * row.r * row.c_errors[at(d)] +
                           std::fabs(term) * (row.r_error + 2 + weight_chain(s));
  }
}

template <class S, class Grad>
std::vector<Expected> layer_norm_gradients(const Shape& s, const Values& x, const Values& gain,
                                           const Values& dy) {
  using A = accum_t<S>;
  std::vector<Expected> out;
  const double kept = s.accumulate ? 1.0 : 0.0;
  Values dgain = held<A>(s.D, 98), dbias = held<A>(s.D, 99);
  Values dgain_errors(at(s.D)), dbias_magnitudes(at(s.D));
  for (std::size_t d = 0; d < dgain.size(); ++d) {
    dgain[d] *= kept;
    dbias[d] *= kept;
    dgain_errors[d] = std::fabs(dgain[d]);
    dbias_magnitudes[d] = std::fabs(dbias[d]);
  }
  for (int64_t n = 0; n < s.N; ++n) {
    layer_norm_row<S, Grad>(&x[at(n * s.D)], &dy[at(n * s.D)], gain, s, out, dgain, dgain_errors);
    for (int64_t d = 0; d < s.D; ++d) {
      dbias[at(d)] += dy[at(n * s.D + d)];
      dbias_magnitudes[at(d)] += std::fabs(dy[at(n * s.D + d)]);
    }
  }
  for (std::size_t d = 0; d < dgain.size(); ++d) {
    out.push_back(expected<S, A>(dgain[d], 1, dgain_errors[d]));
  }
  for (std::size_t d = 0; d < dbias.size(); ++d) {
    out.push_back(expected<S, A>(dbias[d], weight_chain(s), dbias_magnitudes[d]));
  }
  return out;
}

template <class S, class Grad>
Case layer_norm_case(const Shape& s, bool with_addend) {
  using A = accum_t<S>;
  Values x = random_values<S>(s.N * s.D, 1, 2.0);
  const Values addend = random_values<S>(s.N * s.D, 2, 2.0);
  // A mean that is no accident of the sign: the variance is not that of the uncentred values.
  for (double& value : x) value = static_cast<double>(simt::to_accum(stored<S>(value + 0.75)));
  const Values gain = random_values<S>(s.D, 3), dy = random_values<Grad>(s.N * s.D, 4);
  return {"layer_norm_backward",
          shape_of("N D accumulate sum", s.N, s.D, s.accumulate, with_addend),
          [=] {
            const auto [N, D, accumulate] = s;
            const int64_t chunks = cuda::row_chunks(N);
            const auto g_x = upload<S>(x), g_addend = upload<S>(addend), g_gain = upload<S>(gain);
            const auto g_dy = upload<Grad>(dy);
            const simt::Buffer<Grad> dx(at(N * D));
            const auto dgain = upload<A>(held<A>(D, 98)), dbias = upload<A>(held<A>(D, 99));
            const simt::Buffer<A> statistics(at(2 * N)), parts(at(2 * chunks * D));
            const View<const S, 2> sums{with_addend ? g_addend.get() : nullptr, {N, D}};
            cuda::layer_norm_backward<S>(
                View<Grad, 2>{dx.get(), {N, D}}, {dgain.get(), {D}}, {dbias.get(), {D}},
                {{statistics.get(), {2, N}}, {parts.get(), {2 * chunks, D}}}, {g_dy.get(), {N, D}},
                {g_x.get(), {N, D}}, sums, {g_gain.get(), {D}}, kEps, accumulate, nullptr);
            Values out;
            download(dx, out);
            download(dgain, out);
            download(dbias, out);
            return out;
          },
          [=] {
            Values z = x;
            for (std::size_t i = 0; with_addend && i < z.size(); ++i) z[i] += addend[i];
            return layer_norm_gradients<S, Grad>(s, z, gain, dy);
          }};
}

}  // namespace

template <class S>
void add_norm_backward_cases(std::vector<Case>& cases) {
  for (const Shape& s : {Shape{1, 1, false}, {3, 20, true}, {33, 70, false}, {70, 33, true}}) {
    for (const bool with_addend : {false, true}) {
      cases.push_back(rms_norm_case<S, S>(s, with_addend));
      cases.push_back(layer_norm_case<S, S>(s, with_addend));
    }
    if (kSmall && s.N > 1) return;
  }
  if (std::is_same_v<S, accum_t<S>>) return;
  for (const bool with_addend : {false, true}) {
    cases.push_back(rms_norm_case<S, accum_t<S>>({5, 40, true}, with_addend));
    cases.push_back(layer_norm_case<S, accum_t<S>>({5, 40, true}, with_addend));
  }
}
ASSAY_INSTANTIATE_CASES(add_norm_backward_cases)

}  // namespace assay::kernel_test
