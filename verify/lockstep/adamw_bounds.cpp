#include "verify/lockstep/adamw_bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace assay::verify {
namespace {

using golden::Precision;

// Roundings of one of the two terms of a running average, and of their sum.
constexpr double kAverageRoundings = 4;
// Of m and v corrected, the root, the sum with eps, the quotient and its product with the rate.
constexpr double kDirectionRoundings = 8;
// Of 1 - rate decay, its product with the weight, and one to spare.
constexpr double kDecayRoundings = 3;
constexpr double kTorchClipEpsilon = 1e-6;

// Relative error of 1 - b^n, formed in `scalar` from a b that was rounded to it, by powers or
// products, and rounded to the master type.
double complement_error(double beta, double count, double scalar, double unit) {
  const double power = std::pow(beta, count);
  return unit + scalar * (1 + (count + 2) * power / (1 - power));
}

double largest_direction(const reference::AdamwRule& rule, double count) {
  const double ratio = rule.beta2 > 0 ? rule.beta1 * rule.beta1 / rule.beta2
                                      : std::numeric_limits<double>::infinity();
  double sum = count;
  if (rule.beta1 == 0)
    sum = 1;
  else if (ratio != 1)
    sum = (std::pow(ratio, count) - 1) / (ratio - 1);
  const double corrections =
      std::sqrt(1 - std::pow(rule.beta2, count)) / (1 - std::pow(rule.beta1, count));
  const double largest =
      std::sqrt(sum) * (1 - rule.beta1) / std::sqrt(1 - rule.beta2) * corrections;
  return std::isfinite(largest) ? largest : std::numeric_limits<double>::infinity();
}

}  // namespace

AdamwBounds::AdamwBounds(const reference::AdamwRule& rule, const TrainingArithmetic& arithmetic,
                         int64_t number, double rate)
    : rule_(rule),
      rate_(rate),
      unit_(golden::unit_roundoff(arithmetic.master) + golden::unit_roundoff(Precision::fp64)),
      least_(golden::smallest_normal(arithmetic.master)) {
  const double count = static_cast<double>(number);
  const double scalar = arithmetic.double_scalars ? golden::unit_roundoff(Precision::fp64) : unit_;
  correction1_ = 1 - std::pow(rule.beta1, count);
  correction2_ = 1 - std::pow(rule.beta2, count);
  share1_ = complement_error(rule.beta1, 1, scalar, unit_);
  share2_ = complement_error(rule.beta2, 1, scalar, unit_);
  corrected1_ = complement_error(rule.beta1, count, scalar, unit_);
  corrected2_ = complement_error(rule.beta2, count, scalar, unit_);
  largest_ = largest_direction(rule, count) * (1 + kDirectionRoundings * unit_) *
             (1 + corrected1_ + corrected2_);
}

AdamwElement AdamwBounds::operator()(const AdamwElement& before, Around gradient,
                                     bool decays) const {
  AdamwElement after;
  after.first = first(before.first, gradient);
  after.second = second(before.second, gradient);
  after.weight = weight_from(before.weight, after.first, after.second, decays);
  return after;
}

Around AdamwBounds::weight_from(Around before, Around first, Around second, bool decays) const {
  return weight(before, direction(first, second), decays);
}

Around AdamwBounds::first(Around before, Around gradient) const {
  const double b = rule_.beta1, a = 1 - b;
  const double old = b * std::fabs(before.value);
  const double fresh = a * (std::fabs(gradient.value) + std::fabs(before.value));
  return {b * before.value + a * gradient.value,
          b * before.spread + a * gradient.spread + share1_ * (fresh + a * gradient.spread) +
              kAverageRoundings * unit_ * (old + fresh) + least_};
}

Around AdamwBounds::second(Around before, Around gradient) const {
  const double b = rule_.beta2, a = 1 - b, g = std::fabs(gradient.value), s = gradient.spread;
  const double square = g * g, widened = (g + s) * (g + s);
  const double old = b * before.value, fresh = a * (widened + before.value);
  return {old + a * square, b * before.spread + a * (widened - square) + share2_ * fresh +
                                kAverageRoundings * unit_ * (old + fresh) + least_};
}

Around AdamwBounds::direction(Around first, Around second) const {
  const double value =
      first.value / correction1_ / (std::sqrt(second.value / correction2_) + rule_.eps);
  const double high = (first.value + first.spread), low = (first.value - first.spread);
  const auto root = [&](double v, double factor) {
    return std::sqrt(std::max(0.0, v) / correction2_ * factor) + rule_.eps;
  };
  const double small = root(second.value - second.spread, 1 / (1 + corrected2_));
  const double large = root(second.value + second.spread, 1 / std::max(1e-3, 1 - corrected2_));
  const double top = high / correction1_ / (high >= 0 ? small : large);
  const double bottom = low / correction1_ / (low >= 0 ? large : small);
  const double bend = std::max(top - value, value - bottom);
  const double size = std::max(std::fabs(top), std::fabs(bottom));
  const double spread = bend + (kDirectionRoundings * unit_ + corrected1_) * size;
  const double most = largest_ + std::fabs(value);
  return {value, spread <= most ? spread : most};
}

Around AdamwBounds::weight(Around before, Around direction, bool decays) const {
  const double decay = decays ? rule_.weight_decay : 0;
  const double w = before.value, step = rate_ * (direction.value + decay * w);
  return {w - step,
          std::fabs(1 - rate_ * decay) * before.spread + rate_ * direction.spread +
              unit_ * (kDecayRoundings * std::fabs(w) * (1 + rate_ * decay) + std::fabs(w - step) +
                       kDirectionRoundings * rate_ * (std::fabs(direction.value))) +
              least_};
}

Around clip_factor(const reference::AdamwRule& rule, const TrainingArithmetic& arithmetic,
                   Around norm) {
  if (!(rule.max_norm > 0)) return {1, 0};
  const double unit = golden::unit_roundoff(arithmetic.master);
  const double least = arithmetic.clip_epsilon.value_or(0);
  const double most = arithmetic.clip_epsilon.value_or(kTorchClipEpsilon);
  const auto factor = [&](double x) {
    return x > rule.max_norm ? rule.max_norm / x : 1.0;  // of a norm that is 0, too
  };
  const double value = factor(norm.value + least);
  const double high = std::min(1.0, factor(norm.value - norm.spread + least) * (1 + 3 * unit));
  const double low = factor(norm.value + norm.spread + most);
  return {value, std::max(high - value, low == 1 ? 0 : value - low * (1 - 3 * unit))};
}

Around clipped(Around gradient, Around factor, Precision master) {
  const double size = std::fabs(gradient.value) + gradient.spread;
  return {gradient.value * factor.value,
          gradient.spread * (factor.value + factor.spread) +
              std::fabs(gradient.value) * factor.spread +
              3 * golden::unit_roundoff(master) * size * factor.value};
}

double norm_error(Precision type, int64_t elements, double reach) {
  return golden::unit_roundoff(type) * (4 + reach * std::sqrt(static_cast<double>(elements)) / 6);
}

}  // namespace assay::verify
