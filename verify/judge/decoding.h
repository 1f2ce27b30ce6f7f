// numerics: decode: a sequence that is read piece by piece into a cache gives the golden values of
// its positions, within the bounds of the free-running view, however it is cut and however the
// cache keeps what it holds (Subject::caches). A subject that promises the same bits
// (Capabilities::decodes_same_bits) is held to that everywhere.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "verify/judge/chunkings.h"
#include "verify/judge/parts.h"
#include "verify/numerics/case.h"
#include "verify/numerics/ledger.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

enum class Decoding {
  off,
  where_it_can,  // of long sequences not one by one; what cannot be judged is said
  asked          // in every chunking; what cannot be judged is a check that was skipped
};

class DecodingJudge {
 public:
  // kept: what the judge of the subject's own run keeps; it must outlive this. every_cache: through
  // each that the subject has, else where it is asked for. command: as NumericsOptions has it.
  DecodingJudge(const Case& file, Subject& subject, const KeptValues& kept, Decoding wanted,
                bool every_cache, std::string command);

  // Whether a tensor is one that is judged here.
  bool wants(const std::string& name) const;
  // own: the run that was judged. widen: called where something is outside; returns what widens, or
  // nothing. Absent where nothing is judged and nobody asked for it: why_not says why.
  std::optional<Check> judge(const Ledger& own, const std::function<Widen()>& widen);

  const std::string& why_not() const { return why_not_; }  // "" if it was judged
  // The first tensor that is outside, "" if there is none, and what is said of it.
  const std::string& diverged() const { return diverged_; }
  const std::vector<std::string>& first_divergence() const { return first_divergence_; }

 private:
  std::string find_why_not() const;
  std::map<std::string, Places> places_of_all() const;
  std::vector<PartResult> decode_each(const std::vector<Chunking>& list, const Ledger& own);
  std::vector<PartResult> decode_all(const Ledger& own);
  Check conclude_all(const std::vector<PartResult>& results);

  const Case& file_;
  Subject& subject_;
  const KeptValues& kept_;
  const Decoding wanted_;
  const bool every_cache_;
  const std::string command_;
  const Capabilities can_;
  const IsCompared counts_;
  std::string why_not_, diverged_;
  std::vector<std::string> first_divergence_;
};

}  // namespace assay::verify
