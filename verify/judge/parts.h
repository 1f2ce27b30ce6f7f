// Golden values and bounds of tensors that have positions, kept for runs of parts of the batch:
// some positions of some rows, from a cache or from a run of another shape.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "golden/contract/tensor.h"
#include "reference/numbers/array.h"
#include "verify/numerics/case.h"
#include "verify/numerics/ledger.h"
#include "verify/numerics/scratch.h"
#include "verify/numerics/views.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

// A tensor [B,..,T,..] and the places of its elements, by row and position.
struct Places {
  golden::Shape shape;
  std::size_t axis = 0;  // of T

  int64_t rows() const { return shape[0]; }
  int64_t positions() const { return shape[axis]; }
  int64_t between() const;  // elements between a row and a position: heads
  int64_t inside() const;   // elements of a position in one of them
  int64_t element(int64_t b, int64_t h, int64_t t) const;  // the first of a position
};

Places places_of(const std::string& axes, const golden::Shape& shape);

inline constexpr uint8_t kFirst = 1, kBehind = 2;

struct PartTensor {
  Places places;
  std::vector<double> values;
  // [B,T]; kBehind: read behind what a cache held; kFirst: otherwise; 0: not handed over
  std::vector<uint8_t> given;
};

PartTensor empty_part(const Places& places);

// Has the values read, where they are not there yet; false where they cannot be had.
bool read_values(Observed& observed);

// By name.
using PartTensors = std::map<std::string, PartTensor>;

// How a tensor of a part compares.
struct PartSeen {
  struct At {
    int64_t b = 0, t = -1;  // t < 0: there is none
    double golden = 0, part = 0, bound = 0, own = 0;
  };
  int64_t elements = 0, outside = 0;
  int64_t cached = 0;      // elements that what a cache held may reach
  int64_t other_bits = 0;  // than in the subject's own run
  double ratio = 0;        // largest |error| / bound
  At first, first_other, worst;
  double golden_rms = 0, bound_rms = 0;
  double apart = 0;  // largest difference from the subject's own run, over its largest value

  bool shows_little() const { return !(bound_rms <= golden_rms / 2); }
};

struct PartResult {
  std::string what, name;  // "one by one", of the tensor
  PartTensor tensor;
  PartSeen seen;
};

// Deviations that are wider because errors are not independent.
using Widen =
    std::function<reference::Array(const std::string& name, const reference::Array& deviation)>;
// Whether a position is compared.
using IsCompared = std::function<bool(int64_t b, int64_t t)>;

// What padding computes is nobody's; behind it only who looks at the mask is right. The batch must
// outlive what is returned.
IsCompared positions_that_count(const Batch& batch, bool reads_mask);

// A later position may change an earlier one: the beginning of a sequence says nothing by itself.
bool hears_the_future(const golden::ModelConfig& config);

class KeptValues {
 public:
  explicit KeptValues(const Case& file) : file_(file) {}

  // Of what the free-running view, or equality, compares: golden values and bounds. Tensors without
  // positions are not kept.
  void keep(const FreeComparison& seen);

  std::vector<std::string> names() const;
  bool has(const std::string& name) const { return kept_.contains(name); }
  const Places& places(const std::string& name) const { return kept_.at(name).places; }
  // own: the run that was judged.
  PartSeen compare(const PartResult& result, const Ledger& own, const IsCompared& is_compared,
                   const Widen& widen) const;

 private:
  struct Kept {
    Places places;
    BoundRule rule;
    bool exact = false;  // no element may deviate
  };

  const Case& file_;
  std::map<std::string, Kept> kept_;  // values and deviations in scratch_
  std::unique_ptr<Scratch> scratch_;
};

// Sorts results in order of computation, of each tensor in the order that they have.
void sort_by_computation(const Case& file, std::vector<PartResult>& results);

// Has what is outside its bounds compared with wider ones, where there are some.
void look_again(const KeptValues& kept, const Ledger& own, const IsCompared& is_compared,
                const std::function<Widen()>& widen, std::vector<PartResult>& results);

struct HowRun {
  std::string verb;        // "decoded"
  bool same_bits = false;  // those of the own run are promised
  std::string command;     // to repeat it
  // The model sizes windows by what it computes, and bounds are those of the own run's sizes: what
  // is outside and does not show that it has the same is untrusted, for roundings may bring about
  // others.
  bool sizes_vary = false;
};

// Puts the verdict on the results, at least one element of which is compared, into the check: its
// status, summary and details. Where bounds are wider than half of the values, as in 16 bits with
// peaked attention, a defect could hide below them: there what is handed over has to be what the
// subject's own run gives but for rounding, or nothing is shown. Returns the first that fails,
// nullptr if none does.
const PartResult* conclude(const std::vector<PartResult>& results, const HowRun& about,
                           const Subject& subject, Check& check);

}  // namespace assay::verify
