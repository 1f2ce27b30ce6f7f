#include "verify/lockstep/adamw_variations.h"

#include <cmath>

#include "golden/contract/precision.h"

namespace assay::verify {
namespace {

using golden::Precision;

// The update as it is due, with numbers that a variation changes.
struct WeightStep {
  double first, second;  // the moments that it reads
  double correction1, correction2;
  double rate;
  double decay;  // of the weight, times the rate
  bool eps_inside = false;
};

WeightStep due_weight_step(const VariedStep& s, const VariedElement& x) {
  const double n = static_cast<double>(s.place.number);
  return {.first = x.new_first,
          .second = x.new_second,
          .correction1 = 1 - std::pow(s.rule.beta1, n),
          .correction2 = 1 - std::pow(s.rule.beta2, n),
          .rate = s.place.rate,
          .decay = s.decays ? s.rule.weight_decay : 0};
}

double weight_of(const VariedStep& s, const VariedElement& x, const WeightStep& w) {
  const double corrected = w.second / w.correction2;
  const double root =
      w.eps_inside ? std::sqrt(corrected + s.rule.eps) : std::sqrt(corrected) + s.rule.eps;
  return x.weight - w.rate * (w.first / w.correction1 / root + w.decay * x.weight);
}

// A change of the update's numbers as a variation of the weight.
template <class Change>
Variation changed(std::string what, Change change) {
  return {std::move(what), [change](const VariedStep& s, const VariedElement& x) {
            WeightStep w = due_weight_step(s, x);
            change(s, x, w);
            return weight_of(s, x, w);
          }};
}

Variation rounded_to(Precision precision) {
  return {"with the weight rounded to " + golden::precision_name(precision),
          [precision](const VariedStep& s, const VariedElement& x) {
            return golden::round_to(precision, weight_of(s, x, due_weight_step(s, x)));
          }};
}

double corrected(double beta, int64_t number) {
  return 1 - std::pow(beta, static_cast<double>(number));
}

std::vector<Variation> of_weights() {
  using S = const VariedStep&;
  using X = const VariedElement&;
  return {
      {"before the step: it was not updated", [](S, X x) { return x.weight; }},
      rounded_to(Precision::bf16),
      rounded_to(Precision::fp16),
      rounded_to(Precision::fp32),
      changed("without correction of the moments' bias",
              [](S, X, WeightStep& w) { w.correction1 = w.correction2 = 1; }),
      changed("without correction of the second moment's bias",
              [](S, X, WeightStep& w) { w.correction2 = 1; }),
      changed("without correction of the first moment's bias",
              [](S, X, WeightStep& w) { w.correction1 = 1; }),
      changed("with the moments' bias corrected as of the next step",
              [](S s, X, WeightStep& w) {
                w.correction1 = corrected(s.rule.beta1, s.place.number + 1);
                w.correction2 = corrected(s.rule.beta2, s.place.number + 1);
              }),
      changed("with the moments' bias corrected as of the step before",
              [](S s, X, WeightStep& w) {
                w.correction1 = corrected(s.rule.beta1, s.place.number - 1);
                w.correction2 = corrected(s.rule.beta2, s.place.number - 1);
              }),
      changed("with the moments' bias corrected as of the first step",
              [](S s, X, WeightStep& w) {
                w.correction1 = corrected(s.rule.beta1, 1);
                w.correction2 = corrected(s.rule.beta2, 1);
              }),
      changed("with eps inside the root", [](S, X, WeightStep& w) { w.eps_inside = true; }),
      changed("with eps beside the root of the second moment before its correction",
              [](S s, X x, WeightStep& w) {
                const double root = std::sqrt(x.new_second) + s.rule.eps;
                w.second =
                    std::pow(root / std::sqrt(w.correction2) - s.rule.eps, 2) * w.correction2;
              }),
      changed("without eps",
              [](S s, X, WeightStep& w) {
                w.second =
                    std::pow(std::sqrt(w.second / w.correction2) - s.rule.eps, 2) * w.correction2;
              }),
      changed("without decay", [](S, X, WeightStep& w) { w.decay = 0; }),
      changed("with decay, which is of weights with two dimensions or more",
              [](S s, X, WeightStep& w) { w.decay = s.rule.weight_decay; }),
      changed("with a decay that the learning rate does not scale",
              [](S, X, WeightStep& w) { w.decay /= w.rate; }),
      changed("with the decay of the other sign", [](S, X, WeightStep& w) { w.decay *= -1; }),
      changed("with the learning rate of the step before",
              [](S s, X, WeightStep& w) { w.rate = s.rate_before; }),
      changed("with the learning rate of the next step",
              [](S s, X, WeightStep& w) { w.rate = s.rate_after; }),
      changed("with the first moment of before the step",
              [](S, X x, WeightStep& w) { w.first = x.first; }),
      changed("with the second moment of before the step",
              [](S, X x, WeightStep& w) { w.second = x.second; }),
      changed("with the step in the other direction", [](S, X, WeightStep& w) { w.first *= -1; }),
      changed("with the gradient in place of the first moment",
              [](S, X x, WeightStep& w) { w.first = x.clipped; }),
  };
}

// The running average of some reading of the gradient.
template <class Reading>
std::vector<Variation> of_moment(double reference::AdamwRule::*beta,
                                 double reference::AdamwRule::*other, double VariedElement::*before,
                                 Reading reading) {
  const auto average = [=](double b, double old, double g) {
    return b * old + (1 - b) * reading(g);
  };
  using S = const VariedStep&;
  using X = const VariedElement&;
  return {
      {"before the step: it was not updated", [=](S, X x) { return x.*before; }},
      {"from a gradient that is not clipped",
       [=](S s, X x) { return average(s.rule.*beta, x.*before, x.gradient); }},
      {"from a gradient that is clipped by its own norm, not by that of all",
       [=](S s, X x) { return average(s.rule.*beta, x.*before, s.own_clip * x.gradient); }},
      {"from a gradient that is clipped twice",
       [=](S s, X x) {
         return average(s.rule.*beta, x.*before, x.clipped * x.clipped / x.gradient);
       }},
      {"from a gradient with the decay in it: the decay goes through the moments",
       [=](S s, X x) {
         return average(s.rule.*beta, x.*before, x.clipped + s.rule.weight_decay * x.weight);
       }},
      {"without the factor 1 - beta of the gradient",
       [=](S s, X x) { return s.rule.*beta * x.*before + reading(x.clipped); }},
      {"with the moment of before the step lost",
       [=](S s, X x) { return average(s.rule.*beta, 0, x.clipped); }},
      {"with beta1 and beta2 exchanged",
       [=](S s, X x) { return average(s.rule.*other, x.*before, x.clipped); }},
      {"from a gradient of the other sign",
       [=](S s, X x) { return average(s.rule.*beta, x.*before, -x.clipped); }},
  };
}

}  // namespace

const std::vector<Variation>& variations_of(const std::string& kind) {
  using reference::AdamwRule;
  static const std::vector<Variation> first = of_moment(
      &AdamwRule::beta1, &AdamwRule::beta2, &VariedElement::first, [](double g) { return g; });
  static const std::vector<Variation> second = of_moment(
      &AdamwRule::beta2, &AdamwRule::beta1, &VariedElement::second, [](double g) { return g * g; });
  static const std::vector<Variation> weights = of_weights();
  return kind == "first/" ? first : kind == "second/" ? second : weights;
}

}  // namespace assay::verify
