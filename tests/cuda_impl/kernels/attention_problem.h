// An attention problem with its naive solution in double, and the same in device memory.
#pragma once

#include <limits>

#include "cases.h"

namespace assay::kernel_test::attention {

struct Shape {
  int64_t B, T, H, Hkv, Dh, layers;
  const char* padding;  // none, left, right, holes, all; nan_holes: keys and values there are NaN
  // What the coefficients depend on: nothing (1/sqrt(Dh)), layer, batch (and layer), element, key,
  // query, batch_query, batch_key; offset: query, and an offset per query; layer_offset: layer, and
  // such an offset.
  const char* coefficients = "nothing";
  // In decoding: how many queries a row has, the last of its first T - b positions; behind them the
  // cache holds NaN. 0: a whole sequence.
  int64_t chunk = 0;
  int64_t window = 0, sinks = 0;
  // In decoding: keys and values in blocks of so many positions, those of a sequence not one behind
  // the other. 0: a sequence is one piece.
  int64_t block = 0;
  bool dynamic = false;  // each query has a window of its own, of 1 to `window`

  int64_t columns() const { return (T + block - 1) / block; }
  // The block of column c of row b; block 0 belongs to nobody.
  int64_t block_of(int64_t b, int64_t c) const { return B * columns() - (c * B + b); }
  int64_t size_of(int64_t b, int64_t t) const {
    return dynamic ? 1 + (7 * t + 3 * b + t / 5) % window : window;
  }
  int64_t queries() const { return chunk == 0 ? T : chunk; }
  int64_t position_offset(int64_t b) const { return chunk == 0 ? 0 : T - b - chunk; }
  int64_t end(int64_t b) const { return position_offset(b) + queries(); }
};

// Of a table that stands for positions up to some P > T, as learned tables do.
template <class A>
cuda::Coefficients<A> strides_of(const Shape& s) {
  const std::string kind = s.coefficients;
  const int64_t P = s.T + 3, m = s.layers;
  if (kind == "nothing") return {};
  if (kind == "layer" || kind == "layer_offset") return {.layer = 1};
  if (kind == "element") return {.layer = P * P, .query = P, .key = 1};
  if (kind == "key") return {.layer = P, .key = 1};
  if (kind == "query" || kind == "offset") return {.layer = P, .query = 1};
  cuda::Coefficients<A> strides{.layer = 1, .batch = P * m};
  if (kind == "batch") return strides;
  (kind == "batch_key" ? strides.key : strides.query) = m;
  return strides;
}

// One problem and its naive solution in double.
template <class S>
struct Problem {
  using A = accum_t<S>;
  Shape s;
  std::vector<Values> q, k;           // per layer, [B,H,T,Dh] and [B,Hkv,T,Dh]
  Values v;                           // [B,Hkv,T,Dh]
  Values table, offsets;              // coefficients by their strides; [T] or empty
  std::vector<uint8_t> padding_mask;  // [B,T]
  Values scores;                      // [B,H,T,T], -inf where hidden
  Values score_errors;                // [B,H,T,T], bound of a kernel's score
  Values lse, lse_errors;             // [B,H,T], bound of a kernel's lse
  Values probs;                       // [B,H,T,T], 0 where hidden
  Values prob_errors;                 // [B,H,T,T], relative

  explicit Problem(const Shape& shape) : s(shape), v(random_values<S>(values(), 3)) {
    for (int64_t i = 0; i < s.layers; ++i) {
      const auto seed = static_cast<uint64_t>(10 + 2 * i);
      q.push_back(random_values<S>(s.B * s.H * s.T * s.Dh, seed, 2.0));
      k.push_back(random_values<S>(values(), seed + 1, 2.0));
    }
    set_coefficients();
    for (int64_t n = 0; n < s.B * s.T; ++n) padding_mask.push_back(is_real(n / s.T, n % s.T));
    solve();
    for (Values& keys : k) spoil(keys);
    spoil(v);
  }

  // [B,Hkv,T,Dh]: what nobody may read.
  void spoil(Values& values) const {
    const bool padding = s.padding == std::string("nan_holes");
    for (std::size_t i = 0; i < values.size(); ++i) {
      const int64_t row = static_cast<int64_t>(i) / s.Dh, b = row / s.T / s.Hkv, t = row % s.T;
      if (t >= s.end(b) || (padding && !is_real(b, t))) values[i] = std::nan("");
    }
  }

  // Of [B,H,T,width] the rows of the queries: [B,H,queries,width].
  Values of_queries(const Values& values, int64_t width) const {
    Values out;
    for (int64_t b = 0; b < s.B; ++b) {
      for (int64_t h = 0; h < s.H; ++h) {
        const auto from = values.begin() + row(b, h, s.position_offset(b)) * width;
        out.insert(out.end(), from, from + s.queries() * width);
      }
    }
    return out;
  }

  // Of both signs, of the size of 1/sqrt(Dh).
  void set_coefficients() {
    const double scale = 1 / std::sqrt(static_cast<double>(s.Dh));
    const cuda::Coefficients<A> c = strides_of<A>(s);
    const int64_t P = s.T + 3;
    const int64_t count =
        c.layer * s.layers + c.batch * s.B + (c.query + c.key) * P;  // more than the largest index
    table = random_values<A>(std::max<int64_t>(count, 1), 5, 1.5 * scale);
    if (count == 0) table = {static_cast<double>(static_cast<A>(scale))};
    if (std::string(s.coefficients).ends_with("offset")) offsets = random_values<A>(s.T, 6);
  }
  double coefficient(int64_t i, int64_t b, int64_t t, int64_t key) const {
    const cuda::Coefficients<A> c = strides_of<A>(s);
    return table[at(i * c.layer + b * c.batch + t * c.query + key * c.key)];
  }
  int64_t values() const { return s.B * s.Hkv * s.T * s.Dh; }
  std::string text() const {
    return shape_of("B T H Hkv Dh layers", s.B, s.T, s.H, s.Hkv, s.Dh, s.layers) + " padding " +
           s.padding + " coefficients by " + s.coefficients + " " +
           shape_of("chunk window sinks block dynamic", s.chunk, s.window, s.sinks, s.block,
                    s.dynamic);
  }

  // Different in every row of the batch.
  bool is_real(int64_t b, int64_t t) const {
    const std::string padding = s.padding;
    if (padding == "left") return t >= std::min(s.T / 2, 3 + 2 * b);
    if (padding == "right") return t < s.T - std::min(s.T / 2, 2 + 3 * b);
    if (padding == "holes" || padding == "nan_holes") return (t * 5 + b) % 3 != 0;
    return padding == "none";
  }
  bool visible(int64_t b, int64_t t, int64_t key) const {
    const bool near = s.window == 0 || t - key < s.size_of(b, t) || key < s.sinks;
    return key <= t && near && padding_mask[at(b * s.T + key)] != 0;
  }
  int64_t row(int64_t b, int64_t h, int64_t t) const { return (b * s.H + h) * s.T + t; }
  int64_t kv_row(int64_t b, int64_t h, int64_t t) const {
    return (b * s.Hkv + h / (s.H / s.Hkv)) * s.T + t;
  }

  void solve() {
    const double u = unit_of<A>();
    const double infinity = std::numeric_limits<double>::infinity();
    scores.assign(at(s.B * s.H * s.T * s.T), -infinity);
    score_errors.assign(scores.size(), 0.0);
    probs.assign(scores.size(), 0.0);
    prob_errors.assign(scores.size(), 0.0);
    lse.assign(at(s.B * s.H * s.T), -infinity);
    lse_errors.assign(lse.size(), 0.0);
    for (int64_t b = 0; b < s.B; ++b)
      for (int64_t h = 0; h < s.H; ++h)
        for (int64_t t = 0; t < s.T; ++t) solve_row(b, h, t, u);
  }

  void solve_row(int64_t b, int64_t h, int64_t t, double u) {
    const int64_t r = row(b, h, t);
    double total = 0, largest = 0, error = 0;
    for (int64_t key = 0; key <= t; ++key) {
      if (!visible(b, t, key)) continue;
      double sum = offsets.empty() ? 0 : offsets[at(t)], magnitude = std::fabs(sum);
      for (int64_t i = 0; i < s.layers; ++i)
        for (int64_t d = 0; d < s.Dh; ++d) {
          const double term = coefficient(i, b, t, key) * q[at(i)][at(r * s.Dh + d)] *
                              k[at(i)][at(kv_row(b, h, key) * s.Dh + d)];
          sum += term;
          magnitude += std::fabs(term);
        }
      const std::size_t cell = at(r * s.T + key);
      scores[cell] = sum;
      // products, a chain of Dh, the coefficient's product, the sum over layers and the offset
      score_errors[cell] = static_cast<double>(s.Dh + s.layers + 3) * u * magnitude;
      total += std::exp(scores[cell]);  // |score| stays below some 40
      largest = std::max(largest, std::fabs(scores[cell]));
      error = std::max(error, score_errors[cell]);
    }
    if (total == 0) return;
    lse[at(r)] = std::log(total);
    // Exponents: two scores and a difference of at most 2*largest; exponentials, their rescaling
    // once a tile of 32 keys (three roundings and again such an exponent), the chain of T/32, the
    // logarithm, the sum.
    const double tiles = std::ceil(static_cast<double>(s.T) / 32);
    lse_errors[at(r)] = 2 * error + (tiles * (4 + 2 * largest) + 12 + 3 * largest) * u +
                        2 * u * std::fabs(lse[at(r)]);
    for (int64_t key = 0; key <= t; ++key) {
      const std::size_t cell = at(r * s.T + key);
      if (!visible(b, t, key)) continue;
      probs[cell] = std::exp(scores[cell] - lse[at(r)]);
      prob_errors[cell] =
          score_errors[cell] + lse_errors[at(r)] + (3 + std::fabs(scores[cell] - lse[at(r)])) * u;
    }
  }

  // What attention and its replay give: [B,queries,H*Dh]. On tensor cores each probability may
  // besides be off by extra (relative) and half_step.
  std::vector<Expected> context(double extra = 0, double half_step = 0) const {
    std::vector<Expected> out;
    for (int64_t b = 0; b < s.B; ++b)
      for (int64_t t = s.position_offset(b); t < s.end(b); ++t)
        for (int64_t h = 0; h < s.H; ++h)
          for (int64_t d = 0; d < s.Dh; ++d) {
            double sum = 0, error = 0;
            for (int64_t key = 0; key <= t; ++key) {
              if (!visible(b, t, key)) continue;
              const std::size_t cell = at(row(b, h, t) * s.T + key);
              const double value = v[at(kv_row(b, h, key) * s.Dh + d)];
              const double term = probs[cell] * value;
              sum += term;
              error += (prob_errors[cell] + extra + static_cast<double>(s.T + 3) * unit_of<A>()) *
                           std::fabs(term) +
                       half_step * std::fabs(value);
            }
            out.push_back({sum, 2 * error + unit_of<S>() * (std::fabs(sum) + 2 * error)});
          }
    return out;
  }
};

// The problem in device memory.
template <class S>
struct OnDevice {
  explicit OnDevice(const Problem<S>& p)
      : shape(p.s),
        v(upload<S>(placed(p.v, p.s.Hkv, p.s.Dh))),
        padding_mask(p.padding_mask),
        lse(upload<accum_t<S>>(p.of_queries(p.lse, 1))),
        table(upload<accum_t<S>>(placed_table(p))),
        offsets(upload<accum_t<S>>(p.offsets)) {
    std::vector<const S*> q_table, k_table;
    for (std::size_t i = 0; i < p.q.size(); ++i) {
      arrays.push_back(upload<S>(p.of_queries(p.q[i], p.s.Dh)));
      q_table.push_back(arrays.back().get());
      arrays.push_back(upload<S>(placed(p.k[i], shape.Hkv, shape.Dh)));
      k_table.push_back(arrays.back().get());
    }
    std::vector<int32_t> positions, own;
    for (int64_t b = 0; b < shape.B; ++b) {
      positions.push_back(static_cast<int32_t>(shape.position_offset(b)));
      for (int64_t t = shape.position_offset(b); t < shape.end(b); ++t)
        own.push_back(static_cast<int32_t>(shape.size_of(b, t)));
    }
    sizes = simt::Buffer<int32_t>(own);
    position_offset = simt::Buffer<int32_t>(positions);
    std::vector<int32_t> ids;
    for (int64_t i = 0; shape.block > 0 && i < shape.B * shape.columns(); ++i) {
      ids.push_back(static_cast<int32_t>(shape.block_of(i / shape.columns(), i % shape.columns())));
    }
    blocks = simt::Buffer<int32_t>(ids);
    q = simt::Buffer<const S*>(q_table);
    k = simt::Buffer<const S*>(k_table);
  }
  // [B,heads,T,width] as it is, or in blocks [blocks,heads,block,width]; NaN where nothing is.
  Values placed(const Values& values, int64_t heads, int64_t width) const {
    if (shape.block == 0) return values;
    const int64_t rows = shape.block, blocks_there = shape.B * shape.columns() + 1;
    Values out(at(blocks_there * heads * rows * width), std::nan(""));
    for (int64_t i = 0; i < shape.B * heads * shape.T; ++i) {
      const int64_t t = i % shape.T, h = i / shape.T % heads, b = i / shape.T / heads;
      const int64_t to = (shape.block_of(b, t / rows) * heads + h) * rows + t % rows;
      std::copy_n(values.begin() + i * width, width, out.begin() + to * width);
    }
    return out;
  }
  // Coefficients of a batch row are in blocks too.
  Values placed_table(const Problem<S>& p) const {
    const auto strides = strides_of<accum_t<S>>(shape);
    if (shape.block == 0 || strides.batch == 0) return p.table;
    Values rows;
    for (int64_t b = 0; b < shape.B; ++b) {
      const auto from = p.table.begin() + b * strides.batch;
      rows.insert(rows.end(), from, from + shape.T * shape.layers);
    }
    return placed(rows, 1, shape.layers);
  }
  cuda::ScoreOperands<S> scores() const {
    auto coefficients = strides_of<accum_t<S>>(shape);
    coefficients.data = table.get();
    if (shape.block > 0 && coefficients.batch > 0) {
      coefficients.batch = shape.block * shape.layers;
    }
    return {.q = q.get(),
            .k = k.get(),
            .padding_mask = {padding_mask.get(), {shape.B, shape.T}},
            .position_offset = shape.chunk == 0 ? nullptr : position_offset.get(),
            .coefficients = coefficients,
            .offset = offsets.size() == 0 ? nullptr : offsets.get(),
            .layers = shape.layers,
            .H = shape.H,
            .Hkv = shape.Hkv,
            .Dh = shape.Dh,
            .window = shape.window,
            .sinks = shape.sinks,
            .sizes = shape.dynamic ? sizes.get() : nullptr,
            .positions = shape.T,
            .blocks = table_of_blocks()};
  }
  cuda::BlockTable table_of_blocks() const {
    if (shape.block == 0) return {};
    return {.blocks = blocks.get(),
            .rows = static_cast<int>(shape.block),
            .columns = static_cast<int>(shape.columns())};
  }
  View<const S, 4> values() const {
    if (shape.block == 0) return {v.get(), {shape.B, shape.Hkv, shape.T, shape.Dh}};
    return {v.get(), {shape.B * shape.columns() + 1, shape.Hkv, shape.block, shape.Dh}};
  }

  Shape shape;
  std::vector<simt::Buffer<S>> arrays;
  simt::Buffer<const S*> q, k;
  simt::Buffer<S> v;
  simt::Buffer<uint8_t> padding_mask;
  simt::Buffer<int32_t> position_offset, blocks, sizes;
  simt::Buffer<accum_t<S>> lse, table, offsets;
};

}  // namespace assay::kernel_test::attention
