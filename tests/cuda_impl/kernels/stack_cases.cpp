// Kernels on several layers at once, which give the bits of a launch for each layer; and what joins
// layers: fold_norm and its gradient, sum_epilogue.
#include "cases.h"
#include "cuda_impl/kernels/attention/attention_variants.h"

namespace assay::kernel_test {
namespace {

constexpr double kEps = 1e-5;
constexpr int64_t kLayers = 3;

// run(first, layers): what a launch for the layers [first, first + layers) gives, a layer after the
// other.
using Run = std::function<Values(int64_t first, int64_t layers)>;
Case stack_case(const char* kernel, const std::string& shape, const Run& run) {
  return {kernel, shape + " layers = " + std::to_string(kLayers), [=] { return run(0, kLayers); },
          [=] {
            std::vector<Expected> out;
            for (int64_t j = 0; j < kLayers; ++j) {
              for (const double value : run(j, 1)) out.push_back({value, 0.0});
            }
            return out;
          }};
}

template <class T>
Values downloaded(const simt::Buffer<T>& buffer) {
  Values out;
  download(buffer, out);
  return out;
}

// The columns of y [N,layers*W] layer by layer.
Values by_layer(const Values& y, int64_t N, int64_t layers, int64_t W) {
  Values out;
  for (int64_t j = 0; j < layers; ++j) {
    for (int64_t n = 0; n < N; ++n) {
      const auto from = y.begin() + (n * layers + j) * W;
      out.insert(out.end(), from, from + W);
    }
  }
  return out;
}

template <class S>
Case norm_case(bool is_layer_norm, int64_t N, int64_t D) {
  const int64_t stride = D + 3;  // from gain to gain
  const Values x = random_values<S>(N * D, 1), addend = random_values<S>(kLayers * N * D, 2);
  const Values gain = random_values<S>(kLayers * stride, 3),
               bias = random_values<S>(kLayers * stride, 4);
  return stack_case(
      is_layer_norm ? "layer_norm" : "rms_norm_of_sum", shape_of("N D", N, D),
      [=](int64_t first, int64_t layers) {
        const auto g_x = upload<S>(x), g_addend = upload<S>(addend), g_gain = upload<S>(gain),
                   g_bias = upload<S>(bias);
        const simt::Buffer<S> y(at(layers * N * D));
        const View<S, 2> y_view{y.get(), {layers * N, D}};
        const View<const S, 2> sums{g_addend.get() + first * N * D, {layers * N, D}};
        const View<const S, 1> gains{g_gain.get() + first * stride, {D}};
        if (is_layer_norm) {
          cuda::layer_norm<S>(y_view, {g_x.get(), {N, D}}, sums, gains,
                              {g_bias.get() + first * stride, {D}}, kEps, nullptr, stride);
        } else {
          cuda::rms_norm_of_sum<S>(y_view, {g_x.get(), {N, D}}, sums, gains, kEps, nullptr, stride);
        }
        return downloaded(y);
      });
}

// dx, dgain and dbias of each layer.
template <class S>
Case norm_backward_case(bool is_layer_norm, int64_t N, int64_t D) {
  using A = accum_t<S>;
  const int64_t stride = D + 3, gradient_stride = D + 5;
  const Values x = random_values<S>(N * D, 1), addend = random_values<S>(kLayers * N * D, 2),
               gain = random_values<S>(kLayers * stride, 3),
               dy = random_values<A>(kLayers * N * D, 4),
               held = random_values<A>(kLayers * gradient_stride, 5);
  return stack_case(
      is_layer_norm ? "layer_norm_backward" : "rms_norm_backward", shape_of("N D", N, D),
      [=](int64_t first, int64_t layers) {
        const int64_t rows = layers * N, parts_rows = 2 * layers * cuda::row_chunks(N);
        const auto g_x = upload<S>(x), g_addend = upload<S>(addend), g_gain = upload<S>(gain);
        const auto g_dy = upload<A>(dy), dgain = upload<A>(held), dbias = upload<A>(held);
        const simt::Buffer<A> dx(at(rows * D)), statistics(at(2 * rows)), parts(at(parts_rows * D));
        const View<A, 2> dx_view{dx.get(), {rows, D}};
        const View<const A, 2> dy_view{g_dy.get() + first * N * D, {rows, D}};
        const View<const S, 2> x_view{g_x.get(), {N, D}},
            sums{g_addend.get() + first * N * D, {rows, D}};
        const View<const S, 1> gains{g_gain.get() + first * stride, {D}};
        const View<A, 1> dgains{dgain.get() + first * gradient_stride, {D}};
        const cuda::NormLayers stack{layers, stride, gradient_stride};
        if (is_layer_norm) {
          cuda::layer_norm_backward<S>(
              dx_view, dgains, {dbias.get() + first * gradient_stride, {D}},
              {{statistics.get(), {2, rows}}, {parts.get(), {parts_rows, D}}}, dy_view, x_view,
              sums, gains, kEps, true, nullptr, stack);
        } else {
          cuda::rms_norm_backward<S>(
              dx_view, dgains, {{statistics.get(), {1, rows}}, {parts.get(), {parts_rows / 2, D}}},
              dy_view, x_view, sums, gains, kEps, true, nullptr, stack);
        }
        const Values all = downloaded(dx), gains_out = downloaded(dgain),
                     biases_out = downloaded(dbias);
        Values out;
        for (int64_t j = 0; j < layers; ++j) {
          out.insert(out.end(), all.begin() + j * N * D, all.begin() + (j + 1) * N * D);
          for (const Values* weights : {&gains_out, &biases_out}) {
            const auto from = weights->begin() + (first + j) * gradient_stride;
            out.insert(out.end(), from, from + gradient_stride);  // what lies between stays
          }
        }
        return out;
      });
}

template <class S>
Case activation_case(bool is_gelu, int64_t N, int64_t F) {
  using A = accum_t<S>;
  const Values gate = random_values<A>(kLayers * N * F, 1, 4.0),
               up = random_values<A>(kLayers * N * F, 2, 4.0);
  const Values weights = random_values<A>(kLayers, 3);
  return stack_case(
      is_gelu ? "gelu" : "swiglu", shape_of("N F", N, F), [=](int64_t first, int64_t layers) {
        const auto g_gate = upload<A>(gate), g_up = upload<A>(up), g_weights = upload<A>(weights);
        const simt::Buffer<S> act(at(layers * N * F));
        const View<S, 2> out{act.get(), {N, layers * F}};
        const View<const A, 2> ups{g_up.get() + first * N * F, {layers * N, F}};
        const cuda::SideBySide<A> layout{layers, {g_weights.get() + first, A(0.5)}};
        if (is_gelu) {
          cuda::gelu<S, A>(out, ups, true, nullptr, layout);
        } else {
          const View<const A, 2> gates{g_gate.get() + first * N * F, ups.shape};
          cuda::swiglu<S, A>(out, gates, ups, nullptr, layout);
        }
        return by_layer(downloaded(act), N, layers, F);
      });
}

// Values [B,layers*Hkv,T,Dh], contexts side by side in [B,T,layers*H*Dh]. What is kept of an
// attention is its lse [B,H,T] or its probabilities [B,H,T,T].
template <class S, class Kept, int kRank>
using Replay = void (*)(View<S, 3>, In<Kept, kRank>, const cuda::ScoreOperands<S>&, In<S, 4>,
                        simt::Stream, const cuda::ReplayLayout<accum_t<S>>&);
template <class S, class Kept, int kRank>
Case replay_case(const char* kernel, Replay<S, Kept, kRank> replay, int64_t T, int64_t Dh) {
  using A = accum_t<S>;
  constexpr int64_t B = 2, H = 2, Hkv = 1;
  std::array<int64_t, kRank> kept_shape{B, H, T};
  if constexpr (kRank == 4) kept_shape[3] = T;
  const int64_t kept_count = B * H * T * (kRank == 4 ? T : 1);
  const Values q = random_values<S>(kLayers * B * H * T * Dh, 1),
               k = random_values<S>(kLayers * B * Hkv * T * Dh, 2),
               v = random_values<S>(B * kLayers * Hkv * T * Dh, 3),
               kept = random_values<Kept>(kLayers * kept_count, 4),
               weights = random_values<A>(kLayers, 5);
  return stack_case(kernel, shape_of("T Dh", T, Dh), [=](int64_t first, int64_t layers) {
    const auto g_q = upload<S>(q), g_k = upload<S>(k), g_v = upload<S>(v);
    const auto g_kept = upload<Kept>(kept);
    const auto g_weights = upload<A>(weights);
    std::vector<const S*> queries, keys;
    for (int64_t j = first; j < first + layers; ++j) {
      queries.push_back(g_q.get() + j * B * H * T * Dh);
      keys.push_back(g_k.get() + j * B * Hkv * T * Dh);
    }
    const simt::Buffer<const S*> q_table(queries), k_table(keys);
    const simt::Buffer<uint8_t> padding_mask(std::vector<uint8_t>(at(B * T), 1));
    const auto coefficient = upload<A>({0.25});
    const cuda::ScoreOperands<S> scores{.q = q_table.get(),
                                        .k = k_table.get(),
                                        .padding_mask = {padding_mask.get(), {B, T}},
                                        .coefficients = {.data = coefficient.get()},
                                        .H = H,
                                        .Hkv = Hkv,
                                        .Dh = Dh};
    const simt::Buffer<S> context(at(B * T * layers * H * Dh));
    replay({context.get(), {B, T, H * Dh}}, {g_kept.get() + first * kept_count, kept_shape}, scores,
           {g_v.get() + first * Hkv * T * Dh, {B, Hkv, T, Dh}}, nullptr,
           {.count = layers,
            .context = H * Dh,
            .lse = kept_count,
            .v = Hkv * T * Dh,
            .context_row = layers * H * Dh,
            .v_batch = kLayers * Hkv * T * Dh,
            .terms = {g_weights.get() + first}});
    return by_layer(downloaded(context), B * T, layers, H * Dh);
  });
}

// Roundings: one for a weight; of its bias the products, a chain of K in 32 lanes, their sum.
template <class S>
Case fold_norm_case(int64_t M, int64_t K, bool with_shift) {
  const int64_t row = K + 5;
  const Values w = random_values<S>(M * K, 1), gain = random_values<S>(K, 2),
               shift = random_values<S>(K, 3), bias = random_values<S>(M, 4);
  return {"fold_norm", shape_of("M K shift", M, K, with_shift),
          [=] {
            const auto g_w = upload<S>(w), g_gain = upload<S>(gain), g_shift = upload<S>(shift),
                       g_bias = upload<S>(bias);
            const auto y = upload<S>(Values(at(M * row), 7.0));  // what lies between stays
            const simt::Buffer<S> y_bias(at(M));
            const View<const S, 1> shifts{g_shift.get(), {K}}, biases{g_bias.get(), {M}};
            cuda::fold_norm<S>(
                {y.get(), {M, K}}, row, with_shift ? View<S, 1>{y_bias.get(), {M}} : View<S, 1>{},
                {g_w.get(), {M, K}}, {g_gain.get(), {K}}, with_shift ? shifts : View<const S, 1>{},
                with_shift ? biases : View<const S, 1>{}, nullptr);
            Values out = downloaded(y);
            if (with_shift) download(y_bias, out);
            return out;
          },
          [=] {
            std::vector<Expected> out, sums;
            for (int64_t m = 0; m < M; ++m) {
              double sum = bias[at(m)], magnitude = std::fabs(sum);
              for (int64_t k = 0; k < row; ++k) {
                if (k >= K) {
                  out.push_back({7.0, 0.0});
                  continue;
                }
                const double value = w[at(m * K + k)];
                out.push_back(expected<S>(value * gain[at(k)], 1, std::fabs(value)));
                sum += value * shift[at(k)];
                magnitude += std::fabs(value * shift[at(k)]);
              }
              const double chain = std::ceil(static_cast<double>(K) / 32) + 8;
              sums.push_back(expected<S>(sum, chain, magnitude));
            }
            if (with_shift) out.insert(out.end(), sums.begin(), sums.end());
            return out;
          }};
}

// Roundings: dw two products, their sum and that with what dw holds; the sums over M a chain and
// theirs.
template <class S>
Case fold_norm_backward_case(int64_t M, int64_t K, bool with_norm) {
  using A = accum_t<S>;
  const Values w = random_values<S>(M * K, 1), gain = random_values<S>(K, 2),
               shift = random_values<S>(K, 3), dy = random_values<A>(M * K, 4),
               dy_bias = random_values<A>(M, 5), dw0 = random_values<A>(M * K, 6),
               dgain0 = random_values<A>(K, 7), dshift0 = random_values<A>(K, 8);
  return {
      "fold_norm_backward", shape_of("M K norm", M, K, with_norm),
      [=] {
        const auto g_w = upload<S>(w), g_gain = upload<S>(gain), g_shift = upload<S>(shift);
        const auto g_dy = upload<A>(dy), g_dy_bias = upload<A>(dy_bias), dw = upload<A>(dw0),
                   dgain = upload<A>(dgain0), dshift = upload<A>(dshift0);
        const View<const S, 1> gains{with_norm ? g_gain.get() : nullptr, {K}},
            shifts{with_norm ? g_shift.get() : nullptr, {K}};
        cuda::fold_norm_backward<S>({dw.get(), {M, K}}, {dgain.get(), {K}}, {dshift.get(), {K}},
                                    {g_dy.get(), {M, K}}, {g_dy_bias.get(), {M}},
                                    {g_w.get(), {M, K}}, gains, shifts, nullptr);
        Values out = downloaded(dw);
        download(dgain, out);
        download(dshift, out);
        return out;
      },
      [=] {
        const double chain = static_cast<double>(M + 1);
        std::vector<Expected> out;
        for (int64_t i = 0; i < M * K; ++i) {
          const double bias = with_norm ? dy_bias[at(i / K)] * shift[at(i % K)] : 0;
          const double value = dy[at(i)] * (with_norm ? gain[at(i % K)] : 1);
          out.push_back(expected<S, A>(dw0[at(i)] + value + bias, 4,
                                       std::fabs(dw0[at(i)]) + std::fabs(value) + std::fabs(bias)));
        }
        const auto add_sums = [&](const Values& before, const auto& factor) {
          for (int64_t k = 0; k < K; ++k) {
            double sum = before[at(k)], magnitude = std::fabs(sum);
            for (int64_t m = 0; with_norm && m < M; ++m) {
              const double term = factor(m, k) * w[at(m * K + k)];
              sum += term;
              magnitude += std::fabs(term);
            }
            out.push_back(expected<S, A>(sum, chain, magnitude));
          }
        };
        add_sums(dgain0, [&](int64_t m, int64_t k) { return dy[at(m * K + k)]; });
        add_sums(dshift0, [&](int64_t m, int64_t) { return dy_bias[at(m)]; });
        return out;
      }};
}

template <class S>
Case sum_epilogue_case(int64_t N, int64_t D, bool with_biases, bool with_own) {
  using A = accum_t<S>;
  const int64_t stride = D + 2;
  const Values x = random_values<A>(N * D, 1), own = random_values<S>(N * D, 2),
               biases = random_values<S>(kLayers * stride, 3),
               weights = random_values<A>(kLayers, 4);
  return {
      "sum_epilogue", shape_of("N D biases own", N, D, with_biases, with_own),
      [=] {
        const auto g_x = upload<A>(x), g_weights = upload<A>(weights);
        const auto g_own = upload<S>(own), g_biases = upload<S>(biases);
        const simt::Buffer<S> y(at(N * D));
        cuda::sum_epilogue<S>(
            {y.get(), {N, D}}, {g_x.get(), {N, D}},
            {.data = with_biases ? g_biases.get() : nullptr, .stride = stride, .count = kLayers},
            {g_weights.get(), A(2)}, with_own ? g_own.get() : nullptr, 0.25, nullptr);
        return downloaded(y);
      },
      [=] {
        std::vector<Expected> out;
        for (std::size_t i = 0; i < x.size(); ++i) {
          double sum = x[i], magnitude = std::fabs(sum);
          const auto add = [&](double term) {
            sum += term;
            magnitude += std::fabs(term);
          };
          for (int64_t j = 0; with_biases && j < kLayers; ++j) {
            add(2 * weights[at(j)] * biases[at(j * stride) + i % at(D)]);
          }
          if (with_own) add(0.25 * own[i]);
          out.push_back(expected<S>(sum, kLayers + 2, magnitude));
        }
        return out;
      }};
}

}  // namespace

template <class S>
void add_stack_cases(std::vector<Case>& cases) {
  for (const bool second : {false, true}) {
    cases.push_back(norm_case<S>(second, 5, 33));
    cases.push_back(activation_case<S>(second, 5, 33));
    cases.push_back(norm_backward_case<S>(second, kSmall ? 3 : 35, 33));
    cases.push_back(fold_norm_case<S>(5, 70, second));
    cases.push_back(fold_norm_backward_case<S>(5, 70, second));
    cases.push_back(sum_epilogue_case<S>(5, 33, second, true));
  }
  cases.push_back(sum_epilogue_case<S>(1, 1, false, false));
  cases.push_back(replay_case<S, accum_t<S>, 3>(
      "replay_attention_tiled", cuda::replay_attention_tiled<S>, kSmall ? 5 : 33, 8));
  cases.push_back(replay_case<S, S, 4>("stored_attention_tiled", cuda::stored_attention_tiled<S>,
                                       kSmall ? 5 : 33, 8));
  if constexpr (cuda::kHasMma<S>) {
    cases.push_back(replay_case<S, accum_t<S>, 3>(
        "replay_attention_mma", cuda::replay_attention_mma<S>, kSmall ? 5 : 70, 16));
    cases.push_back(replay_case<S, S, 4>("stored_attention_mma", cuda::stored_attention_mma<S>,
                                         kSmall ? 5 : 70, 16));
  }
}
ASSAY_INSTANTIATE_CASES(add_stack_cases)

}  // namespace assay::kernel_test
