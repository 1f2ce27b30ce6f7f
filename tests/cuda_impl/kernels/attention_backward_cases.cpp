// attention_delta, attention_backward
#include <limits>
#include <memory>

#include "cases.h"

namespace assay::kernel_test {
namespace {

struct Shape {
  int64_t B, T, H, Hkv, Dh, layers;
  const char* padding;    // none, left, right, holes, all
  bool detached = false;  // dv alone
  bool varying = false;   // coefficients by layer, b, t and s, and an offset; else by layer
  int64_t window = 0, sinks = 0;

  int64_t queries() const { return B * H * T * Dh; }
  int64_t keys() const { return B * Hkv * T * Dh; }
  int64_t tiles() const { return (T + 31) / 32; }
  std::string text() const {
    return shape_of("B T H Hkv Dh layers", B, T, H, Hkv, Dh, layers) + " padding " + padding +
           (detached ? " detached" : "") + (varying ? " varying" : "") + " " +
           shape_of("window sinks", window, sinks);
  }
  bool is_real(int64_t b, int64_t t) const {
    const std::string kind = padding;
    if (kind == "left") return t >= std::min(T / 2, 3 + 2 * b);
    if (kind == "right") return t < T - std::min(T / 2, 2 + 3 * b);
    if (kind == "holes") return (t * 5 + b) % 3 != 0;
    return kind == "none";
  }
};

// A value with the bound of its error, in units of accum_t<S>.
struct Sum {
  double value = 0, error = 0;
};

// One problem and its naive solution in double. lse and delta are inputs of the kernel, so the
// solution starts from them as stored.
template <class S>
struct Problem {
  using A = accum_t<S>;
  Shape s;
  std::vector<Values> q, k;     // per layer, [B,H,T,Dh] and [B,Hkv,T,Dh]
  Values v, dcontext;           // [B,Hkv,T,Dh], [B,T,H*Dh]
  Values coefficients, offset;  // by their strides; [T] or empty
  cuda::Coefficients<A> strides;
  std::vector<uint8_t> real;     // [B,T]
  Values lse, delta;             // [B,H,T]
  std::vector<Values> dq0, dk0;  // what dq and dk hold before
  Values dc0;
  std::vector<std::vector<Sum>> dq, dk;
  std::vector<Sum> dc, dv;

  explicit Problem(const Shape& shape)
      : s(shape),
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
    for (int64_t n = 0; n < s.B * s.T; ++n) real.push_back(s.is_real(n / s.T, n % s.T));
    set_coefficients();
    start();
    for (int64_t b = 0; b < s.B; ++b)
      for (int64_t h = 0; h < s.H; ++h)
        for (int64_t t = 0; t < s.T; ++t) solve_row(b, h, t);
    finish();
  }

  // About 1/sqrt(Dh), of both signs.
  void set_coefficients() {
    strides = {.layer = s.varying ? s.B * s.T * s.T : 1};
    if (s.varying) {
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
    const bool near = s.window == 0 || t - key < s.window || key < s.sinks;
    return key <= t && near && real[at(b * s.T + key)] != 0;
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
    if (s.varying) {
      sum.value += offset[at(t)];
      sum.error += static_cast<double>(s.layers) * std::fabs(offset[at(t)]);
    }
    return sum;
  }

  void start() {
    for (int64_t i = 0; i < s.layers; ++i) {
      dq.emplace_back();
      dk.emplace_back();
      for (const double x : dq0[at(i)]) dq.back().push_back({x, adds(1) * std::fabs(x)});
      for (const double x : dk0[at(i)]) dk.back().push_back({x, adds(s.H / s.Hkv) * std::fabs(x)});
      dc.push_back({dc0[at(i)], std::fabs(dc0[at(i)])});
    }
    dv.resize(at(s.keys()));
    lse.assign(at(s.B * s.H * s.T), -std::numeric_limits<double>::infinity());
    delta.assign(lse.size(), 0.0);
  }

  // Roundings of dq (heads = 1), dk and dv: sums of a tile, the coefficient, the tiles' sums.
  double adds(int64_t heads) const { return 34 + static_cast<double>(2 * heads * s.tiles()); }

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

  // What the pair (t, key) adds to every gradient.
  void add_pair(int64_t b, int64_t h, int64_t t, int64_t key, const Sum& score_sum, const Sum& dp) {
    const auto row = at((b * s.H + h) * s.T + t);
    const double exponent = score_sum.value - lse[row], slope = dp.value - delta[row];
    Sum p, ds;  // the exponential: its argument's error, its own 2 and that of the difference
    p.value = std::exp(exponent);
    p.error = p.value * (score_sum.error + 3 + std::fabs(exponent));
    ds.value = p.value * slope;
    ds.error = p.error * std::fabs(slope) + p.value * (dp.error + 2 * std::fabs(slope));
    const std::size_t query0 = query_at(b, h, t), key0 = key_at(b, h, key);
    const double query_adds = adds(1), key_adds = adds(s.H / s.Hkv);
    for (std::size_t d = 0; d < at(s.Dh); ++d) {
      add(dv[key0 + d], p, dcontext[context_at(b, h, t) + d], key_adds);
      for (std::size_t i = 0; i < at(s.layers); ++i) {
        const double c = coefficient(static_cast<int64_t>(i), b, t, key);
        add(dq[i][query0 + d], ds, c * k[i][key0 + d], query_adds);
        add(dk[i][key0 + d], ds, c * q[i][query0 + d], key_adds);
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

  void finish() {
    if (!s.detached) return;
    for (std::size_t i = 0; i < dq.size(); ++i) {
      for (std::size_t n = 0; n < dq[i].size(); ++n) dq[i][n] = {dq0[i][n], 0};
      for (std::size_t n = 0; n < dk[i].size(); ++n) dk[i][n] = {dk0[i][n], 0};
      dc[i] = {dc0[i], 0};
    }
  }
};

// The problem in device memory.
template <class S>
struct OnDevice {
  using A = accum_t<S>;
  explicit OnDevice(const Problem<S>& p)
      : s(p.s),
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
        real(p.real) {
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
    q = simt::Buffer<const S*>(q_table);
    k = simt::Buffer<const S*>(k_table);
    dq = simt::Buffer<A*>(dq_table);
    dk = simt::Buffer<A*>(dk_table);
  }

  void run() const {
    cuda::ScoreOperands<S> scores;
    scores.q = q.get();
    scores.k = k.get();
    scores.real = {real.get(), {s.B, s.T}};
    scores.coefficients = strides;
    scores.coefficients.data = coefficients.get();
    scores.offset = s.varying ? offset.get() : nullptr;
    scores.layers = s.layers;
    scores.H = s.H;
    scores.Hkv = s.Hkv;
    scores.Dh = s.Dh;
    scores.window = s.window;
    scores.sinks = s.sinks;
    cuda::ScoreGradients<A> gradients;
    if (!s.detached) {
      gradients = {dq.get(),
                   dk.get(),
                   {dc.get(), {s.layers}},
                   {parts.get(), {s.layers, s.B, s.H, cuda::coefficient_parts(s.T)}}};
    }
    cuda::attention_backward<S>({dv.get(), {s.B, s.Hkv, s.T, s.Dh}}, gradients,
                                {.scores = scores,
                                 .lse = {lse.get(), {s.B, s.H, s.T}},
                                 .v = {v.get(), {s.B, s.Hkv, s.T, s.Dh}},
                                 .dcontext = {dcontext.get(), {s.B, s.T, s.H * s.Dh}},
                                 .delta = {delta.get(), {s.B, s.H, s.T}}},
                                nullptr);
  }

  Shape s;
  std::vector<simt::Buffer<S>> operands;
  std::vector<simt::Buffer<A>> dq_arrays, dk_arrays;
  simt::Buffer<const S*> q, k;
  simt::Buffer<A*> dq, dk;
  simt::Buffer<S> v, dcontext;
  simt::Buffer<A> coefficients, offset;
  cuda::Coefficients<A> strides;
  simt::Buffer<A> lse, delta, dc, parts, dv;
  simt::Buffer<uint8_t> real;
};

template <class S>
Case attention_backward_case(const Shape& s) {
  const auto problem = std::make_shared<const Problem<S>>(s);
  return {"attention_backward", s.text(),
          [=] {
            const OnDevice<S> g(*problem);
            g.run();
            Values out;
            download(g.dv, out);
            for (const auto& array : g.dq_arrays) download(array, out);
            for (const auto& array : g.dk_arrays) download(array, out);
            download(g.dc, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            const auto append = [&](const std::vector<Sum>& sums) {
              for (const auto& [value, error] : sums) {
                out.push_back(expected<S, accum_t<S>>(value, 1, error));
              }
            };
            append(problem->dv);
            for (const auto& sums : problem->dq) append(sums);
            for (const auto& sums : problem->dk) append(sums);
            append(problem->dc);
            return out;
          }};
}

// Roundings: the products and their chain, as if it had the length Dh.
template <class S>
Case attention_delta_case(int64_t B, int64_t T, int64_t H, int64_t Dh) {
  using A = accum_t<S>;
  const Values context = random_values<S>(B * T * H * Dh, 1);
  const Values dcontext = random_values<S>(B * T * H * Dh, 2);
  return {"attention_delta", shape_of("B T H Dh", B, T, H, Dh),
          [=] {
            const auto g_context = upload<S>(context), g_dcontext = upload<S>(dcontext);
            const simt::Buffer<A> delta(at(B * H * T));
            cuda::attention_delta<S>({delta.get(), {B, H, T}}, {g_context.get(), {B, T, H * Dh}},
                                     {g_dcontext.get(), {B, T, H * Dh}}, nullptr);
            Values out;
            download(delta, out);
            return out;
          },
          [=] {
            std::vector<Expected> out;
            for (int64_t b = 0; b < B; ++b)
              for (int64_t h = 0; h < H; ++h)
                for (int64_t t = 0; t < T; ++t) {
                  double sum = 0, magnitude = 0;
                  for (int64_t d = 0; d < Dh; ++d) {
                    const std::size_t i = at(((b * T + t) * H + h) * Dh + d);
                    sum += context[i] * dcontext[i];
                    magnitude += std::fabs(context[i] * dcontext[i]);
                  }
                  out.push_back(expected<S, A>(sum, static_cast<double>(Dh + 5), magnitude));
                }
            return out;
          }};
}

}  // namespace

// Tiles are 32 queries by 32 keys, as in attention_cases.cpp.
template <class S>
void add_attention_backward_cases(std::vector<Case>& cases) {
  cases.push_back(attention_delta_case<S>(1, 1, 1, 1));
  cases.push_back(attention_delta_case<S>(2, 7, 3, 40));
  std::vector<Shape> shapes{{1, 1, 1, 1, 8, 1, "none"},
                            {1, 33, 2, 1, 8, 2, "left"},
                            {1, 100, 2, 1, 8, 1, "none", false, false, 5, 2}};
  if (!kSmall) {
    const std::vector<Shape> more{
        {2, 3, 2, 1, 8, 1, "all"},
        {1, 70, 1, 1, 20, 1, "none"},
        {2, 33, 4, 2, 20, 3, "holes"},
        {2, 40, 2, 2, 8, 1, "right"},
        {1, 33, 2, 1, 64, 2, "left"},
        {1, 33, 1, 1, 128, 1, "none"},
        {1, 40, 4, 2, 20, 2, "holes", true},
        {1, 64, 2, 1, 8, 1, "none"},
        {2, 40, 4, 2, 8, 3, "left", false, true},
        {2, 33, 2, 1, 8, 1, "holes", false, false, 1},
        {2, 70, 4, 2, 20, 2, "left", false, false, 33},
        {1, 100, 2, 1, 8, 2, "holes", false, true, 7, 33},
        {1, 64, 2, 1, 8, 1, "right", true, false, 32},
        {1, 33, 2, 1, 8, 1, "none", false, false, 2, 40},
    };
    shapes.insert(shapes.end(), more.begin(), more.end());
  }
  for (const Shape& shape : shapes) cases.push_back(attention_backward_case<S>(shape));
}
ASSAY_INSTANTIATE_CASES(add_attention_backward_cases)

}  // namespace assay::kernel_test
