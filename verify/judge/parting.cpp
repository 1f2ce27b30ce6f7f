#include "verify/judge/parting.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "verify/statistics/chunks.h"

namespace assay::verify {
namespace {

using reference::Array;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Of bounds and differences that are rounded when they are formed and added.
constexpr double kRoundings = 1 + 0x1p-50;

struct PairSums {
  int64_t elements = 0, parted = 0;
  double largest = 0, ratio = 0;
  bool same_bits = true;

  // allowed: by (1); NaN or infinite: anything.
  void add(double a, double b, double allowed) {
    if (std::isnan(allowed)) allowed = kInfinity;
    ++elements;
    if (a == b || (std::isnan(a) && std::isnan(b))) return;
    const bool finite = std::isfinite(a) && std::isfinite(b);
    const double apart = finite ? std::abs(a - b) : kInfinity;
    largest = std::max(largest, apart);
    ratio = std::max(ratio, finite ? apart / allowed : kInfinity);
    parted += !(finite && apart <= allowed * kRoundings);
  }
  void join(const PairSums& next) {
    elements += next.elements;
    parted += next.parted;
    largest = std::max(largest, next.largest);
    ratio = std::max(ratio, next.ratio);
    same_bits = same_bits && next.same_bits;
  }
};

// |g_a - g_b|, of scores that are masked in both 0.
double apart(double a, double b) { return a == b ? 0 : std::abs(a - b); }

}  // namespace

void JudgedBefore::keep_bounds() { keeps_bounds_ = true; }
void JudgedBefore::keep_golden() { keeps_golden_ = true; }

void JudgedBefore::note(const FreeComparison& seen) {
  const std::string& name = seen.row.name;
  const bool again = rules_.contains(name);  // with wider deviations
  rules_[name] = seen.rule;
  const bool exact = seen.deviation.absent();
  // Of what is not compared a later candidate knows nothing.
  const bool partly = !exact && !seen.rule.open && !all_finite_in(seen.deviation.values());
  const bool keep = !exact && (keeps_bounds_ || again || partly);
  if (!keep && !keeps_golden_) return;
  if (scratch_ == nullptr) scratch_ = std::make_unique<Scratch>();
  if (keep) {
    auto bound = Array::uninitialized(seen.deviation.shape());
    std::transform(seen.deviation.values().begin(), seen.deviation.values().end(),
                   bound.values().begin(), seen.rule);
    scratch_->put("bound/" + name, bound);
  }
  if (keeps_golden_ && !again) scratch_->put("golden/" + name, seen.golden);
}

PairRow JudgedBefore::against(const JudgedBefore& later, const FreeComparison& seen) const {
  const std::string& name = seen.row.name;
  const BoundRule rule = rules_.at(name);
  const bool exact = seen.deviation.absent();
  const Array raw = ledger_->values(name);
  const Array golden = keeps_golden_ ? scratch_->get("golden/" + name) : seen.golden;
  const bool kept = !exact && scratch_ != nullptr && scratch_->has("bound/" + name);
  const Array bound = kept ? scratch_->get("bound/" + name) : Array();
  const Array ours = exact ? raw : read_masks(name, schedule_, golden, raw);
  const Array theirs =
      exact ? seen.candidate : read_masks(name, later.schedule_, seen.golden, seen.candidate);
  const auto sums = over_chunks<PairSums>(
      static_cast<std::size_t>(raw.size()),
      [&](std::size_t first, std::size_t last, PairSums& part) {
        part.same_bits = std::memcmp(raw.data() + first, seen.candidate.data() + first,
                                     (last - first) * sizeof(double)) == 0;
        for (std::size_t i = first; i < last; ++i) {
          double allowed = apart(golden.data()[i], seen.golden.data()[i]);
          if (!exact) {
            const double deviation = seen.deviation.data()[i];
            const double own = kept ? bound.data()[i] : rule(deviation);
            // What is computed there is not defined, for one of them at least.
            if (!seen.rule.open && !rule.open && !std::isfinite(deviation + own)) continue;
            allowed += own + seen.rule(deviation);
          }
          part.add(ours.data()[i], theirs.data()[i], allowed);
        }
      });
  return {name, sums.same_bits, sums.elements, sums.parted, sums.largest, sums.ratio};
}

}  // namespace assay::verify
