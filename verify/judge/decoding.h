// numerics: decode: a sequence that is read piece by piece into a cache gives the golden values of
// its positions, within the bounds of the free-running view, however it is cut.
//
// Where those bounds are wider than half of the values, as in 16 bits with peaked attention, a
// wrong cache could hide below them: there what is decoded has to be what the subject's own run
// gives but for rounding, or nothing is shown. A subject that promises the same bits
// (Capabilities::decodes_same_bits) is held to that everywhere.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "verify/judge/decoded.h"
#include "verify/numerics/case.h"
#include "verify/numerics/ledger.h"
#include "verify/numerics/scratch.h"
#include "verify/numerics/views.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

enum class Decoding {
  off,
  where_it_can,  // of long sequences in uneven pieces alone; what cannot be judged is said
  asked          // in every chunking; what cannot be judged is a check that was skipped
};

// How a tensor that was decoded compares.
struct DecodedSeen {
  struct At {
    int64_t b = 0, t = -1;  // t < 0: there is none
    double golden = 0, decoded = 0, bound = 0, own = 0;
  };
  int64_t elements = 0, outside = 0;
  int64_t cached = 0;      // elements that what the cache held may reach
  int64_t other_bits = 0;  // than in the subject's own run
  double ratio = 0;        // largest |error| / bound
  At first, first_other, worst;
  double golden_rms = 0, bound_rms = 0;
  double apart = 0;  // largest difference from the subject's own run, over its largest value

  bool shows_little() const { return !(bound_rms <= golden_rms / 2); }
};

struct DecodedResult {
  std::string what, name;  // of the chunking, of the tensor
  DecodedTensor tensor;
  DecodedSeen seen;
};

class DecodingJudge {
 public:
  // command: as NumericsOptions has it.
  DecodingJudge(const Case& file, Subject& subject, Decoding wanted, std::string command);

  // Of what the free-running view, or equality, compares: golden values and bounds.
  void keep(const FreeComparison& seen);

  // Deviations that are wider because errors are not independent.
  using Widen =
      std::function<reference::Array(const std::string& name, const reference::Array& deviation)>;
  // own: the run that was judged. widen: called where something is outside; returns what widens, or
  // nothing. Absent where nothing is judged and nobody asked for it: why_not says why.
  std::optional<Check> judge(const Ledger& own, const std::function<Widen()>& widen);

  const std::string& why_not() const { return why_not_; }  // "" if it was judged
  // The first tensor that is outside, "" if there is none, and what is said of it.
  const std::string& diverged() const { return diverged_; }
  const std::vector<std::string>& first_divergence() const { return first_divergence_; }

 private:
  struct Kept {
    Places places;
    BoundRule rule;
    bool exact = false;  // no element may deviate
  };

  std::string find_why_not() const;
  bool is_compared(int64_t b, int64_t t) const;
  std::vector<DecodedResult> decode_each(const std::vector<Chunking>& list,
                                         const std::map<std::string, Places>& wanted,
                                         const Ledger& own);
  std::vector<DecodedResult> decode_all(const Ledger& own);
  DecodedSeen compare(const DecodedResult& result, const Ledger& own, const Widen& widen) const;
  bool fails(const DecodedSeen& seen) const;
  Check conclude(const std::vector<DecodedResult>& results);
  void conclude_failure(const std::vector<DecodedResult>& results, Check& check);

  const Case& file_;
  Subject& subject_;
  const Decoding wanted_;
  const std::string command_;
  const Capabilities can_;
  std::map<std::string, Kept> kept_;  // values and deviations in scratch_
  std::unique_ptr<Scratch> scratch_;
  std::string why_not_, diverged_;
  std::vector<std::string> first_divergence_;
};

}  // namespace assay::verify
