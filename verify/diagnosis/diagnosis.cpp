#include "verify/diagnosis/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "verify/statistics/compare.h"

namespace assay::verify {
namespace {

// Fewer elements than this agree with something by chance.
constexpr int64_t kLeastEvidence = 8;

enum class Explains { nothing, outliers, everything };

// Whether the candidate is `claimed` everywhere, or at least at all elements where it is not
// `unchanged`. An element speaks for the claim only if the unchanged reference is outside even with
// the claim's bound.
Explains explains(const Recomputed& claimed, const Recomputed& unchanged,
                  std::span<const double> candidate) {
  int64_t evidence = 0;
  bool everywhere = true;
  for (std::size_t i = 0; i < candidate.size(); ++i) {
    const bool agrees = within(claimed.value[i], candidate[i], claimed.bound[i]);
    if (!agrees && !within(unchanged.value[i], candidate[i], unchanged.bound[i])) {
      return Explains::nothing;
    }
    everywhere = everywhere && agrees;
    const double wider = std::max(claimed.bound[i], unchanged.bound[i]);
    evidence += !within(unchanged.value[i], candidate[i], wider);
  }
  if (evidence == 0) return Explains::nothing;
  if (everywhere) return Explains::everything;
  return evidence >= kLeastEvidence ? Explains::outliers : Explains::nothing;
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

// Numbers that scales are made of, near k: n, 1/n, sqrt(n), 1/sqrt(n); then k as it is.
std::vector<std::pair<double, std::string>> readings(double k) {
  std::vector<std::pair<double, std::string>> list;
  const double size = std::abs(k);
  const std::string sign = k < 0 ? "-" : "";
  const auto try_reading = [&](double n, double value, const char* form) {
    if (n < 2 || std::abs(value - size) > 0.01 * size) return;
    list.emplace_back(std::copysign(value, k), sign + fmt::format(fmt::runtime(form), n));
  };
  const double n = std::round(size), inverse = std::round(1 / size);
  const double square = std::round(size * size), inverse_square = std::round(1 / (size * size));
  try_reading(n, n, "{:g}");
  try_reading(inverse, 1 / inverse, "1/{:g}");
  try_reading(square, std::sqrt(square), "sqrt({:g})");
  try_reading(inverse_square, 1 / std::sqrt(inverse_square), "1/sqrt({:g})");
  if (k < 0) list.emplace_back(-1.0, "-1");
  list.emplace_back(k, fmt::format("{:.6g}", k));
  return list;
}

std::string wrong_gain(const std::string& name, const Recomputed& unchanged,
                       std::span<const double> candidate) {
  const double gain = least_squares_gain(unchanged, candidate);
  if (!std::isfinite(gain) || gain == 0) return "";
  for (const auto& [k, text] : readings(gain)) {
    if (explains(scaled(unchanged, k), unchanged, candidate) == Explains::everything) {
      return fmt::format("equals {} times {}", name, text);
    }
  }
  return "";
}

}  // namespace

std::string diagnose(const reference::Graph& graph, const Cut& cut, int target,
                     const golden::PrecisionSchedule& schedule, std::span<const double> candidate) {
  const Recomputed unchanged = Rebuild(graph, cut).evaluate(target, schedule);
  std::string outliers;
  for (const Hypothesis& hypothesis : hypotheses(graph, cut, target)) {
    Rebuild rebuild(graph, cut);
    rebuild.edit(hypothesis.at, hypothesis.edit);
    switch (explains(rebuild.evaluate(target, schedule), unchanged, candidate)) {
      case Explains::everything:
        return "equals " + hypothesis.claim;
      case Explains::outliers:
        if (outliers.empty()) outliers = "where it is outside, equals " + hypothesis.claim;
        break;
      case Explains::nothing:
        break;
    }
  }
  const std::string gain = wrong_gain(graph.node(target).name, unchanged, candidate);
  return gain.empty() ? outliers : gain;
}

}  // namespace assay::verify
