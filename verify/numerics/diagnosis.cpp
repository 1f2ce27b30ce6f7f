#include "verify/numerics/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verify/numerics/compare.h"

namespace assay::verify {
namespace {

// `claimed` explains the candidate, and the unchanged reference does not, not even with its bounds.
bool explains(const Recomputed& claimed, const Recomputed& unchanged,
              std::span<const double> candidate) {
  if (!compare(claimed.value, candidate, claimed.bound).agrees()) return false;
  std::vector<double> wider(claimed.bound.size());
  for (std::size_t i = 0; i < wider.size(); ++i) {
    wider[i] = std::max(claimed.bound[i], unchanged.bound[i]);
  }
  return compare(unchanged.value, candidate, wider).outside > 0;
}

// The candidate is k times the expected value: k by least squares, then every element within |k|
// times its bound (1 at least: the candidate rounds its own value).
std::string wrong_gain(const std::string& name, const Recomputed& unchanged,
                       std::span<const double> candidate) {
  double product = 0, square = 0;
  for (std::size_t i = 0; i < candidate.size(); ++i) {
    const double e = unchanged.value[i];
    if (!std::isfinite(e) || !std::isfinite(candidate[i])) continue;
    product += e * candidate[i];
    square += e * e;
  }
  const double gain = product / square;
  if (!std::isfinite(gain) || gain == 0) return "";
  Recomputed claimed = unchanged;
  for (std::size_t i = 0; i < candidate.size(); ++i) {
    if (std::isfinite(claimed.value[i])) claimed.value[i] *= gain;
    claimed.bound[i] *= std::max(1.0, std::abs(gain));
  }
  if (!explains(claimed, unchanged, candidate)) return "";
  return fmt::format("equals {} times {:.6g} (its square: {:.6g})", name, gain, gain * gain);
}

}  // namespace

std::string diagnose(const reference::Graph& graph, const Cut& cut, int target,
                     const golden::PrecisionSchedule& schedule, std::span<const double> candidate) {
  const Recomputed unchanged = Rebuild(graph, cut).evaluate(target, schedule);
  for (const Hypothesis& hypothesis : hypotheses(graph, cut, target)) {
    Rebuild rebuild(graph, cut);
    rebuild.edit(hypothesis.at, hypothesis.edit);
    const Recomputed claimed = rebuild.evaluate(target, schedule);
    if (explains(claimed, unchanged, candidate)) return "equals " + hypothesis.claim;
  }
  return wrong_gain(graph.node(target).name, unchanged, candidate);
}

}  // namespace assay::verify
