#include "verify/lockstep/adamw_bounds.h"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <random>
#include <vector>

namespace {

using namespace assay;
using golden::Precision;
using verify::AdamwBounds;
using verify::AdamwElement;
using verify::Around;

const reference::AdamwRule kRule{.weight_decay = 0.1};
constexpr double kRate = 1e-3;

// Sizes from 2^-70 to 2^3, zeros among them: where squares underflow and where they do not.
class Draw {
 public:
  double signed_value() {
    if (random_() % 16 == 0) return 0;
    const double size = std::ldexp(1 + unit(), static_cast<int>(random_() % 74) - 70);
    return random_() % 2 == 0 ? size : -size;
  }
  AdamwElement before(bool first) {
    const auto number = [&](double x) { return Around{static_cast<double>(float(x)), 0}; };
    if (first) return {number(signed_value()), {0, 0}, {0, 0}};
    const double g = signed_value();
    return {number(signed_value()), number(0.3 * signed_value()), number(0.01 * g * g)};
  }
  double unit() { return static_cast<double>(random_()) / 4294967296.0; }

 private:
  std::mt19937 random_{7};
};

template <class T>
struct Stepped {
  T weight, first, second;
};

// As our kernels have it.
template <class T>
Stepped<T> fused(const AdamwElement& x, double gradient, int64_t n, bool decays) {
  const T b1 = T(kRule.beta1), a1 = T(1 - kRule.beta1), b2 = T(kRule.beta2),
          a2 = T(1 - kRule.beta2);
  const T c1 = T(1 - std::pow(kRule.beta1, double(n))),
          c2 = T(1 - std::pow(kRule.beta2, double(n)));
  const T g = T(gradient), w = T(x.weight.value);
  const T m = b1 * T(x.first.value) + a1 * g, v = b2 * T(x.second.value) + a2 * g * g;
  const T d = m / c1 / (std::sqrt(v / c2) + T(kRule.eps));
  return {w - T(kRate) * (d + (decays ? T(kRule.weight_decay) : T(0)) * w), m, v};
}

// As PyTorch has it: lerp, a decay by a product, the correction in the step's size.
template <class T>
Stepped<T> eager(const AdamwElement& x, double gradient, int64_t n, bool decays) {
  const T g = T(gradient), old = T(x.first.value);
  T w = T(x.weight.value);
  if (decays) w *= T(1 - kRate * kRule.weight_decay);
  const T m = old + T(1 - kRule.beta1) * (g - old);
  T v = T(x.second.value) * T(kRule.beta2);
  v += T(1 - kRule.beta2) * (g * g);
  const double c1 = 1 - std::pow(kRule.beta1, double(n)), c2 = 1 - std::pow(kRule.beta2, double(n));
  const T root = std::sqrt(v) / T(std::sqrt(c2)) + T(kRule.eps);
  return {w + T(-kRate / c1) * (m / root), m, v};
}

// As programs have it that form every constant in their own type.
Stepped<float> narrow(const AdamwElement& x, double gradient, int64_t n, bool decays) {
  const float b1 = 0.9f, b2 = 0.999f, g = float(gradient), old = float(x.first.value);
  const float m = std::fma(1 - b1, g, std::fma(-(1 - b1), old, old));
  const float v = b2 * float(x.second.value) + (1 - b2) * g * g;
  const float corrected = m / (1 - std::pow(b1, float(n)));
  const float root = std::sqrt(v / (1 - std::pow(b2, float(n)))) + float(kRule.eps);
  const float w = float(x.weight.value), decay = decays ? float(kRule.weight_decay) : 0.0f;
  return {w - float(kRate) * (corrected / root + decay * w), m, v};
}

template <class T>
void check_inside(const AdamwElement& due, const Stepped<T>& got) {
  BOOST_TEST(std::fabs(due.first.value - double(got.first)) <= due.first.spread);
  BOOST_TEST(std::fabs(due.second.value - double(got.second)) <= due.second.spread);
  BOOST_TEST(std::fabs(due.weight.value - double(got.weight)) <= due.weight.spread,
             due.weight.value << " " << got.weight << " " << due.weight.spread);
}

verify::TrainingArithmetic arithmetic(Precision master, bool double_scalars = true) {
  return {.schedule = golden::usual_schedule(master),
          .master = master,
          .double_scalars = double_scalars};
}

}  // namespace

BOOST_AUTO_TEST_CASE(values_are_those_of_the_reference) {
  Draw draw;
  for (const int64_t n : {1, 2, 40}) {
    const AdamwBounds bounds(kRule, arithmetic(Precision::fp64), n, kRate);
    for (int i = 0; i < 200; ++i) {
      const AdamwElement x = draw.before(n == 1);
      const double g = draw.signed_value(), clip = 0.25;
      const auto one = [](double value) {
        const double values[] = {value};
        return reference::Array::copy_of({1}, values);
      };
      reference::Array weight = one(x.weight.value), first = one(x.first.value),
                       second = one(x.second.value);
      reference::adamw(kRule, {.number = n, .rate = kRate, .clip = clip, .decays = i % 2 == 0},
                       one(g), weight, first, second);
      const AdamwElement due = bounds(x, {clip * g, 0}, i % 2 == 0);
      check_inside(due, Stepped<double>{weight.data()[0], first.data()[0], second.data()[0]});
      BOOST_TEST(due.first.spread <= 1e-14 * (std::fabs(x.first.value) + std::fabs(g)) + 1e-300);
    }
  }
}

BOOST_AUTO_TEST_CASE(every_order_of_the_operations_is_inside) {
  Draw draw;
  for (const int64_t n : {1, 2, 3, 40, 1000}) {
    const AdamwBounds tight(kRule, arithmetic(Precision::fp32), n, kRate);
    const AdamwBounds wide(kRule, arithmetic(Precision::fp32, false), n, kRate);
    const AdamwBounds fine(kRule, arithmetic(Precision::fp64), n, kRate);
    for (int i = 0; i < 2000; ++i) {
      const AdamwElement x = draw.before(n == 1);
      const double g = float(draw.signed_value());
      const bool decays = i % 2 == 0;
      check_inside(tight(x, {g, 0}, decays), fused<float>(x, g, n, decays));
      check_inside(tight(x, {g, 0}, decays), eager<float>(x, g, n, decays));
      check_inside(wide(x, {g, 0}, decays), narrow(x, g, n, decays));
      check_inside(fine(x, {g, 0}, decays), eager<double>(x, g, n, decays));
    }
  }
}

// Spreads of all that a step starts from are carried on, where v is near 0 too.
BOOST_AUTO_TEST_CASE(a_spread_holds_what_it_should) {
  Draw draw;
  for (const int64_t n : {1, 2, 40}) {
    const AdamwBounds bounds(kRule, arithmetic(Precision::fp64), n, kRate);
    for (int i = 0; i < 2000; ++i) {
      AdamwElement x = draw.before(n == 1);
      const double g = draw.signed_value(), width = std::fabs(draw.signed_value());
      if (n > 1) x.first.spread = 0.5 * std::fabs(x.first.value);
      if (n > 1) x.second.spread = 0.5 * x.second.value;
      const AdamwElement due = bounds(x, {g, width}, true);
      AdamwElement other = x;
      other.first.value += (2 * draw.unit() - 1) * x.first.spread;
      other.second.value += (2 * draw.unit() - 1) * x.second.spread;
      const double changed = g + (2 * draw.unit() - 1) * width;
      const AdamwElement got = bounds(other, {changed, 0}, true);
      BOOST_TEST(std::fabs(got.first.value - due.first.value) <= due.first.spread);
      BOOST_TEST(std::fabs(got.second.value - due.second.value) <= due.second.spread);
      // (5) is of moments that come from gradients; drawn ones may make a larger step.
      const bool reachable = n == 1;
      if (reachable) {
        BOOST_TEST(std::fabs(got.weight.value - due.weight.value) <= due.weight.spread);
      }
    }
  }
}

// In the first step d is -1, 0 or 1: a gradient known but for its sign moves a weight by 2 rates at
// most. What is known of it bounds it further.
BOOST_AUTO_TEST_CASE(an_unknown_sign_is_worth_two_rates) {
  const AdamwBounds bounds(kRule, arithmetic(Precision::fp32), 1, kRate);
  const AdamwElement x{{0.5, 0}, {0, 0}, {0, 0}};
  BOOST_TEST(bounds(x, {1e-4, 1}, true).weight.spread <= 2.001 * kRate);
  BOOST_TEST(bounds(x, {1e-4, 1e300}, true).weight.spread <= 2.001 * kRate);
  BOOST_TEST(bounds(x, {1e-2, 1e-7}, true).weight.spread <= 2e-4 * kRate);
  BOOST_TEST(bounds(x, {1e-2, 0}, true).weight.spread <= 1e-6);
}

BOOST_AUTO_TEST_CASE(clipping_is_bounded_on_both_sides_of_the_largest_norm) {
  const reference::AdamwRule rule{.max_norm = 2};
  verify::TrainingArithmetic known = arithmetic(Precision::fp64), unknown = known, torch = known;
  unknown.clip_epsilon.reset();
  torch.clip_epsilon = 1e-6;
  BOOST_TEST(clip_factor(rule, known, {1, 0}).value == 1);
  BOOST_TEST(clip_factor(rule, known, {1, 0}).spread == 0);
  BOOST_TEST(clip_factor(rule, known, {4, 0}).value == 0.5);
  BOOST_TEST(clip_factor(rule, known, {4, 0}).spread < 1e-15);
  BOOST_TEST(clip_factor(rule, torch, {4, 0}).value == 2 / (4 + 1e-6));
  const Around open = clip_factor(rule, unknown, {4, 0});
  BOOST_TEST(open.value == 0.5);
  BOOST_TEST(open.value - open.spread <= 2 / (4 + 1e-6));
  BOOST_TEST(clip_factor(rule, known, {2, 0.5}).spread >= 1 - 2 / 2.5);
  BOOST_TEST(clip_factor({}, known, {4, 1}).value == 1);
}
