// Two candidates against each other: where they part, which is where they lie further apart than
// both together may lie from the truth.
//
// Element by element, with a and b the candidates' values, g the golden value that each is judged
// by and bound the free-running one of each (views.h):
//   (1)  |a - b| <= bound_a + bound_b + |g_a - g_b|
// The last term is 0 unless the candidates hold other weights, rounded to their storage types. Two
// candidates that are both within their bounds never part, by the triangle inequality. A NaN agrees
// with a NaN, an infinity with itself.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "verify/numerics/ledger.h"
#include "verify/numerics/scratch.h"
#include "verify/numerics/views.h"

namespace assay::verify {

// How two candidates differ in one checkpoint that both handed over.
struct PairRow {
  std::string name;
  bool same_bits = false;
  int64_t elements = 0;  // that have a bound
  int64_t parted = 0;    // of them, those that break (1)
  double largest = 0;    // |a - b|; infinite where one of them alone is not finite
  double ratio = 0;      // largest |a - b| / right side of (1)
};

// What later candidates need to know of one that was judged.
class JudgedBefore {
 public:
  // from_elsewhere: as Case takes it.
  JudgedBefore(const golden::PrecisionSchedule& schedule, bool from_elsewhere)
      : schedule_(schedule), from_elsewhere_(from_elsewhere) {}

  // Whether a candidate like this has the same deviations, so that none of ours are kept.
  bool like(const golden::PrecisionSchedule& schedule, bool from_elsewhere) const {
    return schedule_ == schedule && from_elsewhere_ == from_elsewhere;
  }
  // Before it is judged: later candidates are not like it, or are judged by other golden values.
  void keep_bounds();
  void keep_golden();

  void note(const FreeComparison& seen);
  void note_values(std::shared_ptr<const Ledger> ledger) { ledger_ = std::move(ledger); }

  bool has(const std::string& name) const { return rules_.contains(name); }
  // Against a later candidate in a checkpoint that this one has too.
  PairRow against(const JudgedBefore& later, const FreeComparison& seen) const;

 private:
  golden::PrecisionSchedule schedule_;
  bool from_elsewhere_;
  std::shared_ptr<const Ledger> ledger_;
  std::map<std::string, BoundRule> rules_;  // by checkpoint that was compared
  std::unique_ptr<Scratch> scratch_;        // bounds, and golden values where others differ
  bool keeps_bounds_ = false, keeps_golden_ = false;
};

}  // namespace assay::verify
