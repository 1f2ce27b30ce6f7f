// Backward kernels against the slopes of the forward ones: no gradient's formula is written here.
//
// For inputs x, a fixed dy and a random direction e, the gradient must satisfy
//   <dx, e> = d/dh <dy, forward(x + h e)> at h = 0,
// taken with the five-point rule: with h = 1e-3, functions of curvature 1 and double rounding its
// error is some 1e-12 of the sum, and kSlopeError leaves 2 digits for sharper functions.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <limits>
#include <numeric>

#include "cases.h"

using namespace assay::kernel_test;
namespace cuda = assay::cuda;

namespace {

constexpr double kSlopeError = 1e-10;

using Inputs = std::vector<Values>;
using Buffer = simt::Buffer<double>;

Values values_of(const Buffer& buffer) {
  Values values;
  download(buffer, values);
  return values;
}

Buffer zeros(std::size_t count) { return upload<double>(Values(count, 0.0)); }

double dot(const Values& a, const Values& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// forward(inputs) gives y, backward(inputs, dy) one gradient per input, and then any others.
template <class Forward, class Backward>
void check_gradients(const Inputs& inputs, const Forward& forward, const Backward& backward) {
  const Values dy = random_values<double>(static_cast<int64_t>(forward(inputs).size()), 77);
  const Inputs gradients = backward(inputs, dy);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Values e = random_values<double>(static_cast<int64_t>(inputs[i].size()), 88);
    const auto loss_at = [&](double h) {
      Inputs moved = inputs;
      for (std::size_t n = 0; n < e.size(); ++n) moved[i][n] += h * e[n];
      return dot(dy, forward(moved));
    };
    constexpr double h = 1e-3;
    const double slope =
        (8 * (loss_at(h) - loss_at(-h)) - (loss_at(2 * h) - loss_at(-2 * h))) / (12 * h);
    double magnitude = 0;
    for (std::size_t n = 0; n < e.size(); ++n) magnitude += std::fabs(gradients[i][n] * e[n]);
    BOOST_TEST(magnitude > 0.0);
    BOOST_TEST(std::fabs(dot(gradients[i], e) - slope) <= kSlopeError * magnitude,
               "input " << i << ": slope " << slope << ", gradient " << dot(gradients[i], e));
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(gemm_gradients_are_slopes) {
  constexpr int64_t N = 5, M = 7, K = 3;
  check_gradients(
      {random_values<double>(N * K, 1), random_values<double>(M * K, 2)},
      [](const Inputs& in) {
        const auto x = upload<double>(in[0]), w = upload<double>(in[1]), y = zeros(N * M);
        cuda::gemm<double>(View<double, 2>{y.get(), {N, M}}, {x.get(), {N, K}}, {w.get(), {M, K}},
                           {}, nullptr);
        return values_of(y);
      },
      [](const Inputs& in, const Values& dy) -> Inputs {
        const auto x = upload<double>(in[0]), w = upload<double>(in[1]), g_dy = upload<double>(dy);
        const auto dx = zeros(N * K), dw = zeros(M * K);
        cuda::gemm_nn<double>(View<double, 2>{dx.get(), {N, K}}, {g_dy.get(), {N, M}},
                              {w.get(), {M, K}}, false, nullptr);
        cuda::gemm_tn<double>({dw.get(), {M, K}}, {g_dy.get(), {N, M}}, {x.get(), {N, K}}, false,
                              nullptr);
        return {values_of(dx), values_of(dw)};
      });
}

// x and addend have one gradient between them.
BOOST_AUTO_TEST_CASE(rms_norm_gradients_are_slopes) {
  constexpr int64_t N = 5, D = 40;
  constexpr double kEps = 1e-5;
  check_gradients(
      {random_values<double>(N * D, 1), random_values<double>(N * D, 2),
       random_values<double>(D, 3)},
      [](const Inputs& in) {
        const auto x = upload<double>(in[0]), addend = upload<double>(in[1]),
                   gain = upload<double>(in[2]), y = zeros(N * D);
        cuda::rms_norm_of_sum<double>({y.get(), {N, D}}, {x.get(), {N, D}}, {addend.get(), {N, D}},
                                      {gain.get(), {D}}, kEps, nullptr);
        return values_of(y);
      },
      [](const Inputs& in, const Values& dy) -> Inputs {
        const auto x = upload<double>(in[0]), addend = upload<double>(in[1]),
                   gain = upload<double>(in[2]), g_dy = upload<double>(dy);
        const auto dx = zeros(N * D), dgain = zeros(D), statistics = zeros(N), parts = zeros(D);
        cuda::rms_norm_backward<double>(
            View<double, 2>{dx.get(), {N, D}}, {dgain.get(), {D}},
            {{statistics.get(), {1, N}}, {parts.get(), {1, D}}}, {g_dy.get(), {N, D}},
            {x.get(), {N, D}}, {addend.get(), {N, D}}, {gain.get(), {D}}, kEps, false, nullptr);
        return {values_of(dx), values_of(dx), values_of(dgain)};
      });
}

BOOST_AUTO_TEST_CASE(swiglu_gradients_are_slopes) {
  constexpr int64_t N = 5, F = 9;
  check_gradients(
      {random_values<double>(N * F, 1, 3.0), random_values<double>(N * F, 2)},
      [](const Inputs& in) {
        const auto gate = upload<double>(in[0]), up = upload<double>(in[1]), act = zeros(N * F);
        cuda::swiglu<double, double>({act.get(), {N, F}}, {gate.get(), {N, F}}, {up.get(), {N, F}},
                                     nullptr);
        return values_of(act);
      },
      [](const Inputs& in, const Values& dact) -> Inputs {
        const auto gate = upload<double>(in[0]), up = upload<double>(in[1]),
                   g_dact = upload<double>(dact);
        const auto dgate = zeros(N * F), dup = zeros(N * F);
        cuda::swiglu_backward<double, double>({dgate.get(), {N, F}}, {dup.get(), {N, F}},
                                              {g_dact.get(), {N, F}}, {gate.get(), {N, F}},
                                              {up.get(), {N, F}}, nullptr);
        return {values_of(dgate), values_of(dup)};
      });
}

BOOST_AUTO_TEST_CASE(rope_gradients_are_slopes) {
  constexpr int64_t B = 2, H = 3, T = 5, Dh = 8;
  const Values cosines = random_values<double>(T * Dh / 2, 5);
  const Values sines = random_values<double>(T * Dh / 2, 6);
  const auto c = upload<double>(cosines), s = upload<double>(sines);
  check_gradients(
      {random_values<double>(B * T * H * Dh, 1)},
      [&](const Inputs& in) {
        const auto x = upload<double>(in[0]), y = zeros(in[0].size());
        cuda::rope<double>({y.get(), {B, H, T, Dh}}, {x.get(), {B, T, H * Dh}},
                           {c.get(), {T, Dh / 2}}, {s.get(), {T, Dh / 2}}, nullptr, nullptr);
        return values_of(y);
      },
      [&](const Inputs&, const Values& dy) -> Inputs {
        const auto g_dy = upload<double>(dy), dx = zeros(dy.size());
        cuda::rope_backward<double>({dx.get(), {B, T, H * Dh}}, {g_dy.get(), {B, H, T, Dh}},
                                    {c.get(), {T, Dh / 2}}, {s.get(), {T, Dh / 2}}, nullptr);
        return {values_of(dx)};
      });
}

BOOST_AUTO_TEST_CASE(cross_entropy_gradient_is_a_slope) {
  constexpr int64_t B = 2, T = 5, V = 37;
  const std::vector<int32_t> labels{3, 36, cuda::kIgnoredLabel, 0, 1, 5, 5, 7, 20, 30};
  const simt::Buffer<int32_t> g_labels(labels);
  check_gradients(
      {random_values<double>(B * T * V, 1, 3.0)},
      [&](const Inputs& in) {
        const auto logits = upload<double>(in[0]), loss = zeros(1), losses = zeros(B * T);
        cuda::cross_entropy<double>({loss.get(), {1}}, {losses.get(), {B, T}},
                                    {logits.get(), {B, T, V}}, {g_labels.get(), {B, T}}, nullptr);
        return values_of(loss);
      },
      [&](const Inputs& in, const Values& dloss) -> Inputs {
        const auto logits = upload<double>(in[0]), counted = zeros(1);
        cuda::counted_positions<double>({counted.get(), {1}}, {g_labels.get(), {B, T}}, nullptr);
        cuda::cross_entropy_backward<double>({logits.get(), {B * T, V}}, {logits.get(), {B * T, V}},
                                             0, {g_labels.get(), {B, T}}, {counted.get(), {1}},
                                             dloss[0], nullptr);
        return {values_of(logits)};
      });
}

namespace {

// Two layers of scores; the probabilities serve the values v, and replayed the values w.
struct Attention {
  static constexpr int64_t B = 2, T = 35, H = 2, Hkv = 1, Dh = 4, layers = 2;
  // b*T + t: row 0 begins with padding, so with queries that see no key; row 1 has holes.
  static constexpr int64_t kHidden[] = {0, 1, 2, T + 9, T + 20}, kBlind = 3;
  static constexpr int64_t kQueries = B * H * T * Dh, kKeys = B * Hkv * T * Dh;
  std::vector<Buffer> arrays;  // q_0, q_1, k_0, k_1, v, w
  simt::Buffer<const double*> q, k;
  simt::Buffer<uint8_t> padding_mask;
  Buffer coefficients = upload<double>(Values(layers, 1 / std::sqrt(double{Dh})));
  bool varying;  // coefficients by layer, b, t and s, and an offset; else 1/sqrt(Dh)
  bool windowed;
  Buffer varied = upload<double>(random_values<double>(layers * B * T * T, 11));
  Buffer offset = upload<double>(random_values<double>(T, 12));
  Buffer context = zeros(kQueries), replayed = zeros(kQueries), lse = zeros(B * H * T);

  explicit Attention(const Inputs& in, bool varies = false, bool has_window = false)
      : varying(varies), windowed(has_window) {
    for (const Values& values : in) arrays.push_back(upload<double>(values));
    q = simt::Buffer<const double*>(std::vector<const double*>{arrays[0].get(), arrays[1].get()});
    k = simt::Buffer<const double*>(std::vector<const double*>{arrays[2].get(), arrays[3].get()});
    std::vector<uint8_t> is_real(B * T, 1);
    for (const int64_t n : kHidden) is_real[at(n)] = 0;
    padding_mask = simt::Buffer<uint8_t>(is_real);
  }
  cuda::ScoreOperands<double> scores() const {
    cuda::ScoreOperands<double> operands;
    operands.q = q.get();
    operands.k = k.get();
    operands.padding_mask = {padding_mask.get(), {B, T}};
    operands.coefficients = {.data = coefficients.get(), .layer = 1};
    if (varying) operands.coefficients = {varied.get(), B * T * T, T * T, T, 1};
    if (varying) operands.offset = offset.get();
    operands.layers = layers;
    operands.H = H;
    operands.Hkv = Hkv;
    operands.Dh = Dh;
    operands.window = windowed ? 6 : 0;
    operands.sinks = windowed ? 5 : 0;
    return operands;
  }
  View<const double, 4> values(std::size_t i) const { return {arrays[i].get(), {B, Hkv, T, Dh}}; }

  Values forward() const {
    cuda::attention<double>({context.get(), {B, T, H * Dh}}, {lse.get(), {B, H, T}}, scores(),
                            values(4), nullptr);
    cuda::replay_attention<double>({replayed.get(), {B, T, H * Dh}}, {lse.get(), {B, H, T}},
                                   scores(), values(5), nullptr);
    Values out;
    download(context, out);
    download(replayed, out);
    return out;
  }

  // After forward(): the gradients of all arrays, then that of the coefficients.
  Inputs backward(const Values& dy) const {
    const Buffer dq0 = zeros(kQueries), dq1 = zeros(kQueries), dk0 = zeros(kKeys),
                 dk1 = zeros(kKeys), dv = zeros(kKeys), dw = zeros(kKeys), dc = zeros(layers);
    const simt::Buffer<double*> dq(std::vector<double*>{dq0.get(), dq1.get()});
    const simt::Buffer<double*> dk(std::vector<double*>{dk0.get(), dk1.get()});
    const int64_t parts = cuda::coefficient_parts(T);
    const Buffer part_sums = zeros(at(layers * B * H * parts)), delta = zeros(B * H * T);
    const auto use = [&](const Buffer& output, const double* dy_of, std::size_t v,
                         const Buffer& dv_of) {
      const auto doutput = upload<double>(Values(dy_of, dy_of + kQueries));
      cuda::attention_delta<double>({delta.get(), {B, H, T}}, {output.get(), {B, T, H * Dh}},
                                    {doutput.get(), {B, T, H * Dh}}, nullptr);
      cuda::attention_backward<double>(
          {dv_of.get(), {B, Hkv, T, Dh}},
          {dq.get(), dk.get(), {dc.get(), {layers}}, {part_sums.get(), {layers, B, H, parts}}},
          {.scores = scores(),
           .lse = {lse.get(), {B, H, T}},
           .v = values(v),
           .dcontext = {doutput.get(), {B, T, H * Dh}},
           .delta = {delta.get(), {B, H, T}}},
          nullptr);
    };
    use(context, dy.data(), 4, dv);
    use(replayed, dy.data() + kQueries, 5, dw);
    Inputs out;
    for (const Buffer* array : {&dq0, &dq1, &dk0, &dk1, &dv, &dw, &dc}) {
      out.push_back(values_of(*array));
    }
    return out;
  }
};

Inputs attention_inputs() {
  Inputs in;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    in.push_back(random_values<double>(seed <= 2 ? Attention::kQueries : Attention::kKeys, seed));
  }
  return in;
}

}  // namespace

// Through both uses of the probabilities at once: their shares add up in dq and dk.
BOOST_AUTO_TEST_CASE(attention_gradients_are_slopes_with_a_replay) {
  for (const bool varying : {false, true}) {
    check_gradients(
        attention_inputs(), [=](const Inputs& in) { return Attention(in, varying).forward(); },
        [=](const Inputs& in, const Values& dy) -> Inputs {
          const Attention attention(in, varying);
          attention.forward();
          return attention.backward(dy);
        });
  }
}

// With a window that ends inside a tile, and sinks of which some are padding.
BOOST_AUTO_TEST_CASE(windowed_attention_gradients_are_slopes_with_a_replay) {
  check_gradients(
      attention_inputs(), [](const Inputs& in) { return Attention(in, true, true).forward(); },
      [](const Inputs& in, const Values& dy) -> Inputs {
        const Attention attention(in, true, true);
        attention.forward();
        return attention.backward(dy);
      });
}

// A coefficient scales q_i, or k_i: c_i dc_i = <dq_i, q_i> = <dk_i, k_i>.
BOOST_AUTO_TEST_CASE(coefficient_gradients_agree_with_those_of_what_they_scale) {
  const Inputs in = attention_inputs();
  const Attention attention(in);
  attention.forward();
  const Inputs gradients = attention.backward(random_values<double>(2 * Attention::kQueries, 99));
  const double c = 1 / std::sqrt(double{Attention::Dh});
  for (std::size_t i = 0; i < 2; ++i) {
    double magnitude = 0;
    for (std::size_t n = 0; n < in[i].size(); ++n)
      magnitude += std::fabs(in[i][n] * gradients[i][n]);
    const double scaled = c * gradients[6][i];
    BOOST_TEST(magnitude > 0.0);
    BOOST_TEST(std::fabs(scaled - dot(gradients[i], in[i])) <= 1e-13 * magnitude);
    BOOST_TEST(std::fabs(scaled - dot(gradients[2 + i], in[2 + i])) <= 1e-13 * magnitude);
  }
}

// A hidden pair enters no sum, not even as a product with 0: padded keys and values, and queries
// that see no key with their share of dy, may hold anything.
BOOST_AUTO_TEST_CASE(hidden_pairs_leave_no_trace) {
  using X = Attention;
  static_assert(X::Hkv == 1);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Inputs clean = attention_inputs();
  const Values dy = random_values<double>(2 * X::kQueries, 99);
  Inputs poisoned = clean;
  Values poisoned_dy = dy;
  const auto poison = [&](Values& values, int64_t first, int64_t count) {
    std::fill_n(values.begin() + first, count, nan);
  };
  for (const int64_t n : X::kHidden) {
    for (std::size_t i = 2; i < 6; ++i) poison(poisoned[i], n * X::Dh, X::Dh);
  }
  for (int64_t h = 0; h < X::H; ++h) {  // of row 0, whose first kBlind queries see no key
    for (std::size_t i = 0; i < 2; ++i) poison(poisoned[i], h * X::T * X::Dh, X::kBlind * X::Dh);
  }
  poison(poisoned_dy, 0, X::kBlind * X::H * X::Dh);
  poison(poisoned_dy, X::kQueries, X::kBlind * X::H * X::Dh);

  const Attention first(clean), second(poisoned);
  BOOST_TEST(first.forward() == second.forward(), boost::test_tools::per_element());
  const Inputs expected = first.backward(dy), got = second.backward(poisoned_dy);
  for (std::size_t i = 0; i < got.size(); ++i) {
    BOOST_TEST(got[i] == expected[i], boost::test_tools::per_element());
  }
}
