#include "reference/training/adamw.h"

#include <fmt/format.h>

#include <cmath>

#include "golden/contract/error.h"
#include "reference/ops/rules.h"

namespace assay::reference {

void validate(const AdamwRule& rule, const char* where) {
  const auto expect = [&](const char* name, double value, bool fits, const char* expected) {
    if (fits && std::isfinite(value)) return;
    throw InputError(fmt::format("{}: {}: expected {}, got {}", where, name, expected, value));
  };
  const auto is_beta = [](double beta) { return beta >= 0 && beta < 1; };
  expect("beta1", rule.beta1, is_beta(rule.beta1), "0 or more and less than 1");
  expect("beta2", rule.beta2, is_beta(rule.beta2), "0 or more and less than 1");
  expect("eps", rule.eps, rule.eps > 0, "a positive number");
  expect("weight_decay", rule.weight_decay, rule.weight_decay >= 0, "0 or more");
  expect("max_norm", rule.max_norm, rule.max_norm >= 0, "0 (no clipping) or more");
}

void adamw(const AdamwRule& rule, const AdamwStep& step, const Array& gradient, Array& weight,
           Array& first, Array& second) {
  const auto n = static_cast<double>(step.number);
  const double correction1 = 1 - std::pow(rule.beta1, n);
  const double correction2 = 1 - std::pow(rule.beta2, n);
  const double decay = step.decays ? rule.weight_decay : 0;
  const double* G = gradient.data();
  double *w = weight.data(), *m = first.data(), *v = second.data();
  for_elements(weight.shape(), 16, [&](int64_t i) {
    const double g = step.clip * G[i];                    // (1)
    m[i] = rule.beta1 * m[i] + (1 - rule.beta1) * g;      // (2)
    v[i] = rule.beta2 * v[i] + (1 - rule.beta2) * g * g;  // (3)
    const double move = m[i] / correction1 / (std::sqrt(v[i] / correction2) + rule.eps);
    w[i] -= step.rate * (move + decay * w[i]);  // (4)
  });
}

}  // namespace assay::reference
