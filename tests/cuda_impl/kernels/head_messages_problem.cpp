#include "head_messages_problem.h"

namespace assay::kernel_test::heads {

std::vector<int32_t> Shape::offsets() const {
  constexpr int32_t kFar = std::numeric_limits<int32_t>::max();
  std::vector<int32_t> before, behind;
  for (int64_t j = 0; j < side(); ++j) {
    const int32_t first = j == 0 ? 1 : static_cast<int32_t>(starts[at(j - 1)]);
    const int32_t last = j + 1 == side() ? kFar : static_cast<int32_t>(starts[at(j)] - 1);
    before.insert(before.end(), {-last, -first});
    behind.insert(behind.end(), {first, last});
  }
  if (both_sides) before.insert(before.end(), behind.begin(), behind.end());
  if (!both_sides && !causal) before = {-kFar, kFar};
  return before;
}

std::string Shape::text() const {
  std::string text = shape_of("B T C r updates terms", B, T, C, r, updates, terms);
  text += " starts";
  for (const int64_t start : starts) text += " " + std::to_string(start);
  return text + " padding " + padding + (both_sides ? " both sides" : "") +
         (causal ? " causal" : "") + (window != 0 ? " window " + std::to_string(window) : "") +
         (step != 1 ? " stepped" : "") + (damping != 0 ? " damped" : "") +
         (decoded != 0 ? " decoded " + std::to_string(decoded) : "");
}

template <class S>
Problem Problem::make(const Shape& shape) {
  using A = accum_t<S>;
  Problem p;
  p.s = shape;
  uint64_t seed = 1;
  const auto draw = [&](std::vector<Values>& arrays, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      arrays.push_back(random_values<S>(shape.vectors(), seed++, 1.2));
    }
  };
  draw(p.q, shape.updates * shape.terms);
  draw(p.k, shape.updates * shape.terms);
  for (auto* arrays : {&p.used_q, &p.used_k, &p.du, &p.dv}) draw(*arrays, p.uses * shape.terms);
  p.v = random_values<S>(shape.vectors(), seed++);
  p.before = random_values<A>(shape.vectors(), seed++);
  p.even = random_values<A>(shape.B * shape.T, seed++, 0.2);
  p.weights = random_values<A>(shape.updates * p.uses, seed++);
  if (shape.updates > 1)
    p.weights[at(p.uses)] = 0;  // the second update has no part in the first use
  for (int64_t i = 0; i < shape.updates; ++i) {
    for (auto* arrays : {&p.lse, &p.delta}) {
      arrays->emplace_back();
      for (int64_t n = 0; n < shape.B * shape.C * shape.T; ++n) {
        const int64_t t = n % shape.T, c = n / shape.T % shape.C, b = n / shape.T / shape.C;
        const double value =
            arrays == &p.lse ? p.log_sum(i, b, c, t).value : p.delta_of(i, b, c, t).value;
        arrays->back().push_back(static_cast<double>(static_cast<A>(value)));
      }
    }
  }
  return p;
}

Sum Problem::dot(const double* x, const double* y, double roundings) const {
  Sum sum;
  for (int64_t d = 0; d < s.r; ++d) {
    sum.add({x[d] * y[d], 0}, 1, static_cast<double>(s.r) + roundings);
  }
  return sum;
}

// Of an update's products a sum over label groups, then two coefficients, products and a sum.
Sum Problem::scaled_message(int64_t i, int64_t b, int64_t c, int64_t t, int64_t key) const {
  const int64_t group = s.group_of(t, key);
  Sum message;
  for (int64_t update = 0; update <= i; ++update) {
    Sum fresh, next;
    for (int64_t m = update * s.terms; m < (update + 1) * s.terms; ++m) {
      fresh.add(dot(vector(q[at(m)], b, c, t, group), vector(k[at(m)], b, c, key, group), 1), 1,
                static_cast<double>(s.terms));
    }
    next.add(fresh, 1 - s.damping, s.damping == 0 ? 0 : 3);
    next.add(message, s.damping, 3);
    message = next;
  }
  Sum scaled;
  scaled.add(message, kScale, 2);
  return scaled;
}

// The exponential: its argument's error, its own 2 and that of the difference.
Sum Problem::softmax(int64_t i, int64_t b, int64_t c, int64_t t, int64_t key) const {
  const Sum score = scaled_message(i, b, c, t, key);
  const double exponent = score.value - lse[at(i)][row(b, c, t)];
  const double p = std::exp(exponent);
  return {p, p * (score.error + 3 + std::fabs(exponent) + std::fabs(score.value))};
}

Sum Problem::head(int64_t b, int64_t c, int64_t t, int64_t key) const {
  if (s.updates == 0) return {even[at(b * s.T + t)], 0};
  if (s.step == 1) return softmax(s.updates - 1, b, c, t, key);
  Sum head{even[at(b * s.T + t)], 0};
  for (int64_t i = 0; i < s.updates; ++i) {
    Sum next;
    next.add(head, 1 - s.step, 3);
    next.add(softmax(i, b, c, t, key), s.step, 3);
    head = next;
  }
  return head;
}

// Exponentials, their rescaling once a tile (three roundings and an exponent again), the chain, the
// logarithm and the sum, as in attention_cases.cpp.
Sum Problem::log_sum(int64_t i, int64_t b, int64_t c, int64_t t) const {
  double total = 0, largest = 0, error = 0;
  for (int64_t key = 0; key < s.T; ++key) {
    if (!s.visible(b, t, key)) continue;
    const Sum score = scaled_message(i, b, c, t, key);
    total += std::exp(score.value);
    largest = std::max(largest, std::fabs(score.value));
    error = std::max(error, score.error);
  }
  if (total == 0) return {-std::numeric_limits<double>::infinity(), 0};
  const double tiles = std::ceil(static_cast<double>(s.T) / 32), value = std::log(total);
  return {value, 2 * error + tiles * (4 + 2 * largest) + 12 + 3 * largest + 2 * std::fabs(value)};
}

Sum Problem::probs_gradient(int64_t i, int64_t b, int64_t c, int64_t t, int64_t key) const {
  const int64_t group = s.group_of(t, key);
  Sum sum;
  for (int64_t j = 0; j < uses; ++j) {
    Sum use;
    const double adds = static_cast<double>(2 * s.terms);
    for (int64_t m = j * s.terms; m < (j + 1) * s.terms; ++m) {
      const std::size_t n = at(m);
      use.add(dot(vector(du[n], b, c, t, group), vector(used_k[n], b, c, key, group), 1), 1, adds);
      use.add(dot(vector(used_q[n], b, c, t, group), vector(dv[n], b, c, key, group), 1), 1, adds);
    }
    sum.add(use, weights[at(i * uses + j)], static_cast<double>(uses + 1));
  }
  return sum;
}

Sum Problem::delta_of(int64_t i, int64_t b, int64_t c, int64_t t) const {
  Sum sum;
  const double adds = std::ceil(static_cast<double>(s.T) / 32) + 6;
  for (int64_t key = 0; key < s.T; ++key) {
    if (!s.visible(b, t, key)) continue;
    const Sum p = softmax(i, b, c, t, key), dp = probs_gradient(i, b, c, t, key);
    sum.add({p.value * dp.value, p.error * std::fabs(dp.value) + p.value * dp.error}, 1, adds);
  }
  return sum;
}

Sum Problem::message_gradient(int64_t update, int64_t b, int64_t c, int64_t t, int64_t key) const {
  Sum sum;
  for (int64_t i = update; i < s.updates; ++i) {
    const Sum p = softmax(i, b, c, t, key), dp = probs_gradient(i, b, c, t, key);
    const double given = delta[at(i)][row(b, c, t)], slope = dp.value - given;
    const double slope_error = dp.error + std::fabs(dp.value) + std::fabs(given);
    const double factor =
        (1 - s.damping) * kScale * std::pow(s.damping, static_cast<double>(i - update));
    sum.add({p.value * slope, p.error * std::fabs(slope) + p.value * slope_error}, factor,
            static_cast<double>(3 * s.updates + 5));
  }
  return sum;
}

std::vector<Sum> Problem::weighted(const Weight& weight, const Values& values,
                                   bool dependents) const {
  const int64_t width = s.K() * s.C * s.r;
  std::vector<Sum> out(at(s.B * s.T * width));
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t c = 0; c < s.C; ++c)
      for (int64_t t = 0; t < s.T; ++t)
        for (int64_t key = 0; key < s.T; ++key) {
          if (!s.visible(b, t, key)) continue;
          const int64_t group = s.group_of(t, key), to = dependents ? key : t;
          const double* x = vector(values, b, c, dependents ? t : key, group);
          const Sum w = weight(b, c, t, key);
          for (int64_t d = 0; d < s.r; ++d) {
            out[at((b * s.T + to) * width + (group * s.C + c) * s.r + d)].add(
                w, x[d], static_cast<double>(s.T + 3));
          }
        }
  return out;
}

template Problem Problem::make<float>(const Shape&);
template Problem Problem::make<simt::bf16>(const Shape&);
template Problem Problem::make<simt::f16>(const Shape&);
template Problem Problem::make<double>(const Shape&);

}  // namespace assay::kernel_test::heads
