// A problem for the kernels of heads (prob_transformer.h) and its solution by plain double loops.
#pragma once

#include <algorithm>
#include <limits>

#include "cases.h"
#include "cuda_impl/kernels/mean_field.h"

namespace assay::kernel_test::heads {

struct Shape {
  int64_t B, T, C, r;
  const char* padding = "none";  // none, left, holes, all
  int64_t updates = 1, terms = 1;
  double step = 1, damping = 0;
  std::vector<int64_t> starts = {};  // of distance groups; {} with both_sides: one a side
  bool both_sides = false;
  bool causal = false;
  int64_t window = 0;  // centred; 0: none
  // In decoding: how many words a row has, the last of its first T - b positions; behind them
  // nothing has been read yet. 0: all T, and no positions are given.
  int64_t decoded = 0;

  int64_t words() const { return decoded == 0 ? T : decoded; }
  int64_t position_offset(int64_t b) const { return decoded == 0 ? 0 : T - b - decoded; }
  // Of an array [B,n,T,inner] the rows of the words.
  template <class X>
  std::vector<X> of_words(const std::vector<X>& all, int64_t n, int64_t inner) const {
    std::vector<X> rows;
    for (int64_t i = 0; i < B * n; ++i) {
      const auto from = all.begin() + (i * T + position_offset(i / n)) * inner;
      rows.insert(rows.end(), from, from + words() * inner);
    }
    return rows;
  }
  int64_t side() const { return static_cast<int64_t>(starts.size()) + 1; }
  int64_t K() const { return both_sides ? 2 * side() : side(); }
  int64_t vectors() const { return B * K() * C * T * r; }
  int64_t group_of(int64_t t, int64_t s) const {
    int64_t group = 0;
    for (const int64_t start : starts) group += start <= std::abs(t - s);
    return both_sides && s > t ? group + side() : group;
  }
  bool is_real(int64_t b, int64_t t) const {
    const std::string kind = padding;
    if (kind == "left") return t >= std::min(T / 2, 3 + 2 * b);
    if (kind == "holes") return (t * 5 + b) % 3 != 0;
    return kind == "none";
  }
  bool visible(int64_t b, int64_t t, int64_t s) const {
    const bool in_reach = window == 0 || std::abs(t - s) <= window / 2;
    return (causal ? s < t : s != t) && in_reach && is_real(b, t) && is_real(b, s);
  }
  // [K,2]; without both_sides every group has the pairs of either side.
  std::vector<int32_t> offsets() const;
  std::string text() const;
};

// A number and the error of a kernel's, in units of accum_t<S>.
struct Sum {
  double value = 0, error = 0;
  void add(const Sum& x, double factor, double roundings) {
    value += factor * x.value;
    error += std::fabs(factor) * (x.error + roundings * std::fabs(x.value));
  }
};

// Inputs as stored: lse and delta are those of the solution, rounded, as a kernel is given them.
struct Problem {
  Shape s;
  int64_t uses = 2;
  std::vector<Values> q, k;                    // [updates*terms] of [B,K*C,T,r]
  std::vector<Values> used_q, used_k, du, dv;  // [uses*terms]
  Values even, weights, v, before;             // [B,T], [updates,uses], [B,K*C,T,r], [B,T,K*C*r]
  std::vector<Values> lse, delta;              // [updates] of [B,C,T]

  template <class S>
  static Problem make(const Shape& shape);

  std::size_t row(int64_t b, int64_t c, int64_t t) const { return at((b * s.C + c) * s.T + t); }
  // The vector of word t in an array [B,K*C,T,r], of the distance group of (t, of).
  const double* vector(const Values& array, int64_t b, int64_t c, int64_t word,
                       int64_t group) const {
    return &array[at((((b * s.K() + group) * s.C + c) * s.T + word) * s.r)];
  }

  Sum scaled_message(int64_t i, int64_t b, int64_t c, int64_t t, int64_t key) const;
  Sum softmax(int64_t i, int64_t b, int64_t c, int64_t t, int64_t key) const;
  Sum head(int64_t b, int64_t c, int64_t t, int64_t key) const;  // Qh
  Sum probs_gradient(int64_t i, int64_t b, int64_t c, int64_t t, int64_t key) const;
  Sum message_gradient(int64_t update, int64_t b, int64_t c, int64_t t, int64_t key) const;
  Sum log_sum(int64_t i, int64_t b, int64_t c, int64_t t) const;
  Sum delta_of(int64_t i, int64_t b, int64_t c, int64_t t) const;

  // [B,T,K*C*r]: sums over the pairs' weights times v, of heads or of dependents.
  using Weight = std::function<Sum(int64_t b, int64_t c, int64_t t, int64_t key)>;
  std::vector<Sum> weighted(const Weight& weight, const Values& values, bool dependents) const;

  static constexpr double kScale = 0.8;

 private:
  Sum dot(const double* x, const double* y, double roundings) const;
};

}  // namespace assay::kernel_test::heads
