#include "verify/diagnosis/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "verify/statistics/compare.h"

namespace assay::verify {
namespace {

// Fewer elements than this agree with something by chance.
constexpr int64_t kLeastEvidence = 8;

// Nodes between a checkpoint and what is known before it, beyond which the dictionary, tried on
// each of them, takes too long: some layers.
constexpr std::size_t kWidestScope = 240;

enum class Explains { nothing, outliers, everything };

// Without the elements where `undefined` holds; empty: with all.
std::vector<double> kept(const std::function<bool(int64_t)>& undefined,
                         std::span<const double> values) {
  std::vector<double> left;
  left.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!undefined || !undefined(static_cast<int64_t>(i))) left.push_back(values[i]);
  }
  return left;
}

// Elements that speak for a claim: the unchanged reference is outside even with the claim's bound.
int64_t evidence(const Recomputed& claimed, const Recomputed& unchanged,
                 std::span<const double> candidate) {
  int64_t count = 0;
  for (std::size_t i = 0; i < candidate.size(); ++i) {
    const double wider = std::max(claimed.bound[i], unchanged.bound[i]);
    count += !within(unchanged.value[i], candidate[i], wider);
  }
  return count;
}

// Whether the candidate is `claimed` everywhere, or at least at all elements where it is not
// `unchanged`.
Explains explains(const Recomputed& claimed, const Recomputed& unchanged,
                  std::span<const double> candidate) {
  bool everywhere = true;
  for (std::size_t i = 0; i < candidate.size(); ++i) {
    const bool agrees = within(claimed.value[i], candidate[i], claimed.bound[i]);
    if (!agrees && !within(unchanged.value[i], candidate[i], unchanged.bound[i])) {
      return Explains::nothing;
    }
    everywhere = everywhere && agrees;
  }
  const int64_t speaking = evidence(claimed, unchanged, candidate);
  if (speaking == 0) return Explains::nothing;
  if (everywhere) return Explains::everything;
  return speaking >= kLeastEvidence ? Explains::outliers : Explains::nothing;
}

// The unchanged value times k; |k| times its bound, 1 at least: the candidate rounds its own value.
Recomputed scaled(Recomputed x, double k) {
  for (std::size_t i = 0; i < x.value.size(); ++i) {
    if (std::isfinite(x.value[i])) x.value[i] *= k;
    x.bound[i] *= std::max(1.0, std::abs(k));
  }
  return x;
}

double least_squares_gain(const Recomputed& unchanged, std::span<const double> candidate) {
  double product = 0, square = 0;
  for (std::size_t i = 0; i < candidate.size(); ++i) {
    const double e = unchanged.value[i];
    if (!std::isfinite(e) || !std::isfinite(candidate[i])) continue;
    product += e * candidate[i];
    square += e * e;
  }
  return product / square;
}

// A number that scales are made of: n, 1/n, sqrt(n), 1/sqrt(n).
struct Reading {
  double (*value)(double n);
  double (*index)(double k);  // the real n of a value
  const char* form;
};

constexpr Reading kReadings[] = {
    {[](double n) { return n; }, [](double k) { return k; }, "{:g}"},
    {[](double n) { return 1 / n; }, [](double k) { return 1 / k; }, "1/{:g}"},
    {[](double n) { return std::sqrt(n); }, [](double k) { return k * k; }, "sqrt({:g})"},
    {[](double n) { return 1 / std::sqrt(n); }, [](double k) { return 1 / (k * k); },
     "1/sqrt({:g})"},
};

// A gain is a number that any one element has: it is named where many elements agree on it, and
// read as n, 1/n or a root of them where that of n - 1 and n + 1 would not have done.
std::string wrong_gain(const std::string& name, const Recomputed& unchanged,
                       std::span<const double> candidate) {
  const double gain = least_squares_gain(unchanged, candidate);
  if (!std::isfinite(gain) || gain == 0) return "";
  const auto fits = [&](double k) {
    const Recomputed claimed = scaled(unchanged, std::copysign(k, gain));
    return evidence(claimed, unchanged, candidate) >= kLeastEvidence &&
           explains(claimed, unchanged, candidate) == Explains::everything;
  };
  const double size = std::abs(gain);
  if (!fits(size)) return "";
  const char* sign = gain < 0 ? "-" : "";
  for (const Reading& reading : kReadings) {
    const double n = std::round(reading.index(size));
    if (n < 2 || !fits(reading.value(n))) continue;
    if (fits(reading.value(n + 1)) || (n > 2 && fits(reading.value(n - 1)))) continue;
    return fmt::format("equals {} times {}{}", name, sign,
                       fmt::format(fmt::runtime(reading.form), n));
  }
  if (gain < 0 && fits(1)) return fmt::format("equals {} times -1", name);
  return fmt::format("equals {} times {:.6g}", name, gain);
}

}  // namespace

std::string diagnose(const reference::Graph& graph, const Cut& cut, int target,
                     const golden::PrecisionSchedule& schedule, std::span<const double> values,
                     const std::function<bool(int64_t)>& undefined) {
  if (scope_of(graph, cut, target).size() > kWidestScope) return "";
  const auto evaluate = [&](Rebuild& rebuild) {
    const Recomputed all = rebuild.evaluate(target, schedule);
    return Recomputed{kept(undefined, all.value), kept(undefined, all.bound)};
  };
  Rebuild clean(graph, cut);
  const Recomputed unchanged = evaluate(clean);
  const std::vector<double> candidate = kept(undefined, values);
  const bool few = static_cast<int64_t>(candidate.size()) < kLeastEvidence;
  std::string outliers;
  std::vector<std::string> claims;  // that explain every element
  for (const Hypothesis& hypothesis : hypotheses(graph, cut, target)) {
    Rebuild rebuild(graph, cut);
    rebuild.edit(hypothesis.at, hypothesis.edit);
    switch (explains(evaluate(rebuild), unchanged, candidate)) {
      case Explains::everything:
        claims.push_back(hypothesis.claim);
        if (!few) return "equals " + hypothesis.claim;
        break;
      case Explains::outliers:
        if (outliers.empty()) outliers = "where it is outside, equals " + hypothesis.claim;
        break;
      case Explains::nothing:
        break;
    }
  }
  if (few) return claims.size() == 1 ? "equals " + claims[0] : "";
  const std::string gain = wrong_gain(graph.node(target).name, unchanged, candidate);
  return gain.empty() ? outliers : gain;
}

}  // namespace assay::verify
