// One use of attention and its gradients, solved naively in double, and the same in device memory.
#pragma once

#include <limits>

#include "cases.h"

namespace assay::kernel_test::attention_backward {

struct Shape {
  int64_t B, T, H, Hkv, Dh, layers;
  const char* padding;    // none, left, right, holes, all; nan_holes: keys and values there are NaN
  bool detached = false;  // dv alone
  // What the coefficients depend on: layer, batch (and layer), or element: layer, b, t and s, and
  // there is an offset.
  const char* coefficients = "layer";
  int64_t window = 0, sinks = 0;
  bool dynamic = false;  // each query has a window of its own, of 1 to `window`

  int64_t size_of(int64_t b, int64_t t) const {
    return dynamic ? 1 + (7 * t + 3 * b + t / 5) % window : window;
  }
  int64_t queries() const { return B * H * T * Dh; }
  int64_t keys() const { return B * Hkv * T * Dh; }
  int64_t tiles() const { return (T + 31) / 32; }
  std::string text() const {
    return shape_of("B T H Hkv Dh layers", B, T, H, Hkv, Dh, layers) + " padding " + padding +
           (detached ? " detached" : "") + " coefficients by " + coefficients + " " +
           shape_of("window sinks dynamic", window, sinks, dynamic);
  }
  bool varying() const { return coefficients == std::string("element"); }
  bool is_real(int64_t b, int64_t t) const {
    const std::string kind = padding;
    if (kind == "left") return t >= std::min(T / 2, 3 + 2 * b);
    if (kind == "right") return t < T - std::min(T / 2, 2 + 3 * b);
    if (kind == "holes" || kind == "nan_holes") return (t * 5 + b) % 3 != 0;
    return kind == "none";
  }
};

// A value with the bound of its error, in units of accum_t<S>.
struct Sum {
  double value = 0, error = 0;
};

// One problem and its naive solution in double. lse and delta are inputs of the kernel, so the
// solution starts from them as stored. on_tensor_cores: with the bounds of attention_backward_mma,
// and without gradients with respect to the coefficients.
template <class S>
struct Problem {
  using A = accum_t<S>;
  Shape s;
  bool on_tensor_cores;
  std::vector<Values> q, k;     // per layer, [B,H,T,Dh] and [B,Hkv,T,Dh]
  Values v, dcontext;           // [B,Hkv,T,Dh], [B,T,H*Dh]
  Values coefficients, offset;  // by their strides; [T] or empty
  cuda::Coefficients<A> strides;
  std::vector<uint8_t> padding_mask;  // [B,T]
  Values lse, delta;                  // [B,H,T]
  std::vector<Values> dq0, dk0;       // what dq and dk hold before
  Values dc0;
  std::vector<std::vector<Sum>> dq, dk;
  std::vector<Sum> dc, dv;

  explicit Problem(const Shape& shape, bool mma = false)
      : s(shape),
        on_tensor_cores(mma),
        v(random_values<S>(s.keys(), 3)),
        dcontext(random_values<S>(s.queries(), 4)),
        dc0(random_values<A>(s.layers, 5)) {
    for (int64_t i = 0; i < s.layers; ++i) {
      const auto seed = static_cast<uint64_t>(10 + 4 * i);
      q.push_back(random_values<S>(s.queries(), seed, 2.0));
      k.push_back(random_values<S>(s.keys(), seed + 1, 2.0));
      dq0.push_back(random_values<A>(s.queries(), seed + 2));
      dk0.push_back(random_values<A>(s.keys(), seed + 3));
    }
    for (int64_t n = 0; n < s.B * s.T; ++n) padding_mask.push_back(s.is_real(n / s.T, n % s.T));
    set_coefficients();
    start();
    for (int64_t b = 0; b < s.B; ++b)
      for (int64_t h = 0; h < s.H; ++h)
        for (int64_t t = 0; t < s.T; ++t) solve_row(b, h, t);
    finish();
    for (Values& keys : k) spoil(keys);
    spoil(v);
  }

  // [B,Hkv,T,Dh]: what nobody may read.
  void spoil(Values& values) const {
    if (s.padding != std::string("nan_holes")) return;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const int64_t row = static_cast<int64_t>(i) / s.Dh, b = row / s.T / s.Hkv;
      if (!s.is_real(b, row % s.T)) values[i] = std::nan("");
    }
  }

  // About 1/sqrt(Dh), of both signs.
  void set_coefficients() {
    strides = {.layer = s.varying() ? s.B * s.T * s.T : s.B};
    if (s.coefficients == std::string("batch")) strides.batch = 1;
    if (s.varying()) {
      strides.batch = s.T * s.T;
      strides.query = s.T;
      strides.key = 1;
      offset = random_values<A>(s.T, 6);
    }
    const double unit = 1 / std::sqrt(static_cast<double>(s.Dh));
    for (double& c : coefficients = random_values<A>(s.layers * strides.layer, 7, 1.2)) {
      c = static_cast<double>(static_cast<A>(c * unit));
    }
  }
  double coefficient(int64_t i, int64_t b, int64_t t, int64_t key) const {
    return coefficients[at(i * strides.layer + b * strides.batch + t * strides.query +
                           key * strides.key)];
  }
  bool visible(int64_t b, int64_t t, int64_t key) const {
    const bool near = s.window == 0 || t - key < s.size_of(b, t) || key < s.sinks;
    return key <= t && near && padding_mask[at(b * s.T + key)] != 0;
  }
  std::size_t query_at(int64_t b, int64_t h, int64_t t) const {
    return at(((b * s.H + h) * s.T + t) * s.Dh);
  }
  std::size_t key_at(int64_t b, int64_t h, int64_t t) const {
    return at(((b * s.Hkv + h / (s.H / s.Hkv)) * s.T + t) * s.Dh);
  }
  std::size_t context_at(int64_t b, int64_t h, int64_t t) const {
    return at(((b * s.T + t) * s.H + h) * s.Dh);
  }

  // x . y, its chain and products counted
  Sum dot(const double* x, const double* y) const {
    Sum sum;
    for (int64_t d = 0; d < s.Dh; ++d) {
      sum.value += x[d] * y[d];
      sum.error += static_cast<double>(s.Dh + 1) * std::fabs(x[d] * y[d]);
    }
    return sum;
  }

  // `layer` < 0: the whole score, with its coefficients
  Sum score(int64_t layer, int64_t b, int64_t h, int64_t t, int64_t key) const {
    const auto one = [&](int64_t i) {
      return dot(&q[at(i)][query_at(b, h, t)], &k[at(i)][key_at(b, h, key)]);
    };
    if (layer >= 0) return one(layer);
    Sum sum;
    for (int64_t i = 0; i < s.layers; ++i) {
      const Sum part = one(i);
      const double c = coefficient(i, b, t, key);
      sum.value += c * part.value;
      sum.error +=
          std::fabs(c) * (part.error + static_cast<double>(s.layers + 1) * std::fabs(part.value));
    }
    if (s.varying()) {
      sum.value += offset[at(t)];
      sum.error += static_cast<double>(s.layers) * std::fabs(offset[at(t)]);
    }
    return sum;
  }

  void start() {
    for (int64_t i = 0; i < s.layers; ++i) {
      dq.emplace_back();
      dk.emplace_back();
      // On tensor cores it is added to once.
      const double dq_adds = on_tensor_cores ? 1 : adds(1);
      const double dk_adds = on_tensor_cores ? 1 : adds(s.H / s.Hkv);
      for (const double x : dq0[at(i)]) dq.back().push_back({x, dq_adds * std::fabs(x)});
      for (const double x : dk0[at(i)]) dk.back().push_back({x, dk_adds * std::fabs(x)});
      dc.push_back({dc0[at(i)], std::fabs(dc0[at(i)])});
    }
    dv.resize(at(s.keys()));
    lse.assign(at(s.B * s.H * s.T), -std::numeric_limits<double>::infinity());
    delta.assign(lse.size(), 0.0);
  }

  // Roundings of dq (heads = 1), dk and dv: sums of a tile, the coefficient, the tiles' sums. On
  // tensor cores: one chain of at most T terms a head, the coefficient, what dq and dk held before.
  double adds(int64_t heads) const {
    return static_cast<double>(on_tensor_cores ? heads * s.T + 1 : 34 + 2 * heads * s.tiles());
  }

  void solve_row(int64_t b, int64_t h, int64_t t) {
    const auto row = at((b * s.H + h) * s.T + t);
    std::vector<Sum> scores(at(t + 1)), dp(at(t + 1));
    double total = 0, along = 0;
    for (int64_t key = 0; key <= t; ++key) {
      if (!visible(b, t, key)) continue;
      scores[at(key)] = score(-1, b, h, t, key);
      dp[at(key)] = dot(&dcontext[context_at(b, h, t)], &v[key_at(b, h, key)]);
      total += std::exp(scores[at(key)].value);
      along += std::exp(scores[at(key)].value) * dp[at(key)].value;
    }
    if (total == 0) return;
    lse[row] = static_cast<double>(static_cast<A>(std::log(total)));
    delta[row] = static_cast<double>(static_cast<A>(along / total));
    for (int64_t key = 0; key <= t; ++key) {
      if (visible(b, t, key)) add_pair(b, h, t, key, scores[at(key)], dp[at(key)]);
    }
  }

  // P or dS as it enters a product: on tensor cores rounded to S.
  Sum as_factor(Sum x) const {
    if (!on_tensor_cores) return x;
    const double u = unit_of<A>();
    x.error += (unit_of<S>() * (std::fabs(x.value) + u * x.error) + smallest_half<S>()) / u;
    return x;
  }

  // What the pair (t, key) adds to every gradient.
  void add_pair(int64_t b, int64_t h, int64_t t, int64_t key, const Sum& score_sum, const Sum& dp) {
    const auto row = at((b * s.H + h) * s.T + t);
    const double exponent = score_sum.value - lse[row], slope = dp.value - delta[row];
    Sum p, ds;  // the exponential: its argument's error, its own 2 and that of the difference
    p.value = std::exp(exponent);
    p.error = p.value * (score_sum.error + 3 + std::fabs(exponent));
    ds.value = p.value * slope;
    ds.error = p.error * std::fabs(slope) + p.value * (dp.error + 2 * std::fabs(slope));
    const Sum p_factor = as_factor(p), ds_factor = as_factor(ds);
    const std::size_t query0 = query_at(b, h, t), key0 = key_at(b, h, key);
    const double query_adds = adds(1), key_adds = adds(s.H / s.Hkv);
    for (std::size_t d = 0; d < at(s.Dh); ++d) {
      add(dv[key0 + d], p_factor, dcontext[context_at(b, h, t) + d], key_adds);
      for (std::size_t i = 0; i < at(s.layers); ++i) {
        const double c = coefficient(static_cast<int64_t>(i), b, t, key);
        add(dq[i][query0 + d], ds_factor, c * k[i][key0 + d], query_adds);
        add(dk[i][key0 + d], ds_factor, c * q[i][query0 + d], key_adds);
      }
    }
    // dc: 8 rows, the warp, the tiles of a row, then all parts, of which a lane has 1 in 32
    const double parts = static_cast<double>(s.B * s.H * s.tiles() * 4);
    const double dc_adds = 8 + 5 + static_cast<double>(s.tiles()) + std::ceil(parts / 32) + 7;
    for (int64_t i = 0; i < s.layers; ++i) {
      const Sum qk = score(i, b, h, t, key);
      add(dc[at(i)], ds, qk.value, dc_adds);
      dc[at(i)].error += std::fabs(ds.value) * qk.error;
    }
  }

  static void add(Sum& sum, const Sum& x, double factor, double adds) {
    sum.value += x.value * factor;
    sum.error += std::fabs(factor) * (x.error + adds * std::fabs(x.value));
  }

  // What is not formed stays what it was.
  void finish() {
    for (std::size_t i = 0; i < dq.size(); ++i) {
      if (s.detached || on_tensor_cores) dc[i] = {dc0[i], 0};
      if (!s.detached) continue;
      for (std::size_t n = 0; n < dq[i].size(); ++n) dq[i][n] = {dq0[i][n], 0};
      for (std::size_t n = 0; n < dk[i].size(); ++n) dk[i][n] = {dk0[i][n], 0};
    }
  }
};

// attention_backward or one of its variants.
template <class S>
using Differentiate = void (*)(View<accum_t<S>, 4> dv,
                               const cuda::ScoreGradients<accum_t<S>>& gradients,
                               const cuda::AttentionBackwardArguments<S>& arguments,
                               cuda::Stream stream);

// The problem in device memory.
template <class S>
struct OnDevice {
  using A = accum_t<S>;
  explicit OnDevice(const Problem<S>& p)
      : s(p.s),
        on_tensor_cores(p.on_tensor_cores),
        v(upload<S>(p.v)),
        dcontext(upload<S>(p.dcontext)),
        coefficients(upload<A>(p.coefficients)),
        offset(upload<A>(p.offset)),
        strides(p.strides),
        lse(upload<A>(p.lse)),
        delta(upload<A>(p.delta)),
        dc(upload<A>(p.dc0)),
        parts(at(s.layers * s.B * s.H * cuda::coefficient_parts(s.T))),
        dv(at(s.keys())),
        padding_mask(p.padding_mask) {
    std::vector<const S*> q_table, k_table;
    std::vector<A*> dq_table, dk_table;
    const auto add = [](auto& arrays, auto& table, auto array) {
      arrays.push_back(std::move(array));
      table.push_back(arrays.back().get());
    };
    for (std::size_t i = 0; i < p.q.size(); ++i) {
      add(operands, q_table, upload<S>(p.q[i]));
      add(operands, k_table, upload<S>(p.k[i]));
      add(dq_arrays, dq_table, upload<A>(p.dq0[i]));
      add(dk_arrays, dk_table, upload<A>(p.dk0[i]));
    }
    std::vector<int32_t> own;
    for (int64_t n = 0; n < s.B * s.T; ++n)
      own.push_back(static_cast<int32_t>(s.size_of(n / s.T, n % s.T)));
    sizes = simt::Buffer<int32_t>(own);
    q = simt::Buffer<const S*>(q_table);
    k = simt::Buffer<const S*>(k_table);
    dq = simt::Buffer<A*>(dq_table);
    dk = simt::Buffer<A*>(dk_table);
  }

  void run(Differentiate<S> differentiate) const {
    cuda::ScoreOperands<S> scores;
    scores.q = q.get();
    scores.k = k.get();
    scores.padding_mask = {padding_mask.get(), {s.B, s.T}};
    scores.coefficients = strides;
    scores.coefficients.data = coefficients.get();
    scores.offset = s.varying() ? offset.get() : nullptr;
    scores.layers = s.layers;
    scores.H = s.H;
    scores.Hkv = s.Hkv;
    scores.Dh = s.Dh;
    scores.window = s.window;
    scores.sinks = s.sinks;
    if (s.dynamic) scores.sizes = sizes.get();
    cuda::ScoreGradients<A> gradients;
    if (!s.detached) {
      gradients.dq = dq.get();
      gradients.dk = dk.get();
    }
    if (!s.detached && !on_tensor_cores) {
      gradients.dcoefficients = {dc.get(), {s.layers}};
      gradients.coefficient_parts = {parts.get(),
                                     {s.layers, s.B, s.H, cuda::coefficient_parts(s.T)}};
    }
    differentiate({dv.get(), {s.B, s.Hkv, s.T, s.Dh}}, gradients,
                  {.scores = scores,
                   .lse = {lse.get(), {s.B, s.H, s.T}},
                   .v = {v.get(), {s.B, s.Hkv, s.T, s.Dh}},
                   .dcontext = {dcontext.get(), {s.B, s.T, s.H * s.Dh}},
                   .delta = {delta.get(), {s.B, s.H, s.T}}},
                  nullptr);
  }

  // dv, dq, dk, dc
  Values outputs() const {
    Values out;
    download(dv, out);
    for (const auto& array : dq_arrays) download(array, out);
    for (const auto& array : dk_arrays) download(array, out);
    download(dc, out);
    return out;
  }

  Shape s;
  bool on_tensor_cores;
  std::vector<simt::Buffer<S>> operands;
  std::vector<simt::Buffer<A>> dq_arrays, dk_arrays;
  simt::Buffer<const S*> q, k;
  simt::Buffer<A*> dq, dk;
  simt::Buffer<S> v, dcontext;
  simt::Buffer<A> coefficients, offset;
  cuda::Coefficients<A> strides;
  simt::Buffer<A> lse, delta, dc, parts, dv;
  simt::Buffer<uint8_t> padding_mask;
  simt::Buffer<int32_t> sizes;
};

}  // namespace assay::kernel_test::attention_backward
