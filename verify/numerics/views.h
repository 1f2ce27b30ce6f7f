// The two views: candidate against golden, and candidate against what the reference makes of the
// very inputs that the candidate used.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "verify/numerics/case.h"
#include "verify/numerics/checkpoint_row.h"
#include "verify/numerics/golden_values.h"
#include "verify/numerics/sampled_noise.h"
#include "verify/statistics/compare.h"
#include "verify/statistics/tolerance.h"

namespace assay::verify {

// A checkpoint outside its bounds, with all that explains it.
struct Failure {
  std::string name;
  Comparison comparison;
  std::vector<double> expected, candidate, bound;
};

// One checkpoint as the free-running view, or equality, compares it.
struct FreeComparison {
  const CheckpointRow& row;
  const reference::Array &golden, &candidate;  // as handed over
  // Infinite where what is computed is not defined; absent: no element may deviate.
  const reference::Array& deviation;
  BoundRule rule;  // from a deviation to a bound
};
// Called in execution order, of what was handed over whole; again for all, with wider deviations,
// where errors were sampled.
using WatchFree = std::function<void(const FreeComparison& seen)>;

// `candidate`, with scores that are masked by a large negative number as `expected` masks them; of
// any other tensor as it is. before_mask: no score is masked yet, and all are read so.
reference::Array read_masks(const std::string& name, const golden::PrecisionSchedule& schedule,
                            const reference::Array& expected, const reference::Array& candidate,
                            bool before_mask = false);

class Rows {
 public:
  explicit Rows(const Case& file, const Subject& subject);
  CheckpointRow* find(const std::string& name);  // nullptr when it is not asked for
  std::vector<CheckpointRow>& all() { return rows_; }

 private:
  std::vector<CheckpointRow> rows_;
  std::map<std::string, std::size_t> index_;
};

// Fills the free-running columns of the rows, books NaN and infinities in the ledger, settles the
// golden values: all, or of what the ledger has and what that is computed from. Returns the first
// failure in execution order. noise: widens the deviations; nullptr where nothing was sampled.
std::optional<Failure> free_running_view(const Case& file,
                                         const golden::PrecisionSchedule& schedule,
                                         const Tolerance& tolerance, bool all, SampledNoise* noise,
                                         Ledger& ledger, GoldenValues& golden, Rows& rows,
                                         const WatchFree& watch = {});

// What the nodes after a named tensor start from.
struct LocalInputs {
  std::string described;  // "golden values rounded to storage"
  // Whether later nodes start from value(name); false: they start from what was computed.
  std::function<bool(const std::string& name)> replaced;
  std::function<reference::Array(const std::string& name)> value;
  // What is handed over in a wider type than storage may be read rounded to that (autocast).
  bool read_narrower = false;
  // The other values may be roundings of what was computed with: the bounds allow for that.
  bool held_wider = false;
  // Scores and probabilities may, where they are the candidate's own beside values that are forced.
  bool attention_held_wider = false;

  // How far what was computed with may lie from value(name); absent: not at all.
  reference::Array error(const golden::PrecisionSchedule& schedule, const std::string& name,
                         const reference::Array& held) const;
};

// Golden values in the storage type, scores and probabilities excepted.
LocalInputs forced_inputs(const Case& file, const golden::PrecisionSchedule& schedule,
                          const GoldenValues& golden);
// The same, and the scores and probabilities that an eager candidate hands over of the forced run:
// what it makes of its own scores is then told apart from how it comes to them.
LocalInputs with_own_attention(const LocalInputs& forced, const golden::PrecisionSchedule& schedule,
                               const Ledger& ledger);
// The candidate's own tensors; scores and probabilities too unless they stay in the kernel.
LocalInputs own_inputs(const golden::PrecisionSchedule& schedule, const Ledger& ledger);

// Elements of a tensor that stand at positions before `first`; empty: none.
std::function<bool(int64_t element)> before_position(const golden::Shape& shape,
                                                     const std::string& axes, int64_t first);

// Elements of a named tensor that are not compared: what is undefined there, what was not handed
// over; empty: all are.
std::function<bool(int64_t element)> not_compared(const Case& file, const Ledger& ledger,
                                                  const reference::NodeData& node);

// Runs the subject on the file's batch; what it hands over goes into the ledger.
void run_subject(const Case& file, Subject& subject, const Forced& forced, Ledger& ledger);
// The same, every tensor that is replaced being forced.
void run_forced(const Case& file, Subject& subject, const LocalInputs& inputs, Ledger& ledger);

// Fills the local columns. `ledger` has the values computed from `inputs`.
std::optional<Failure> local_view(const Case& file, const golden::PrecisionSchedule& schedule,
                                  const LocalInputs& inputs, const Ledger& ledger, Rows& rows);

}  // namespace assay::verify
