// mode: the batch run in other ways gives the golden values of its positions, within the bounds of
// the free-running view.
//
//   length        the first positions alone
//   rows          other rows beside it, fewer, more, in another order
//   padding       filled up on the right with positions that are none
//   checkpointed  gradients where a forward pass keeps less: to the same bits
//   sensitivity   one token changed: what changes is what the reference says (sensitivity.h)
//
// Decoding with a cache is a check of its own (decoding.h).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "verify/judge/parts.h"
#include "verify/numerics/case.h"
#include "verify/numerics/ledger.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

struct ModesResult {
  std::vector<Check> checks;
  // The first tensor that is outside, "" if there is none, and what is said of it.
  std::string diverged;
  std::vector<std::string> first_divergence;
};

class ModesJudge {
 public:
  // As DecodingJudge.
  ModesJudge(const Case& file, Subject& subject, const KeptValues& kept, std::string command);

  // own: the run that was judged. A mode that the model does not have, or that the subject says it
  // does not take, is no check; where none is left, one check is skipped and says why.
  ModesResult judge(const Ledger& own, const std::function<Widen()>& widen);

 private:
  // Rows of the batch, some twice or replaced, and how many of their positions are compared.
  struct PartRun {
    std::string what;
    Batch batch;
    std::vector<int64_t> rows;  // -1: one that is not in the golden file
    int64_t positions = 0;
  };

  std::vector<PartRun> lengths() const;
  std::vector<PartRun> row_orders() const;
  std::vector<PartRun> padded() const;
  std::vector<PartResult> run(const PartRun& part, const Ledger& own);
  void judge_runs(const char* name, const std::vector<PartRun>& parts, const Ledger& own,
                  const std::function<Widen()>& widen, ModesResult& result);

  const Case& file_;
  Subject& subject_;
  const KeptValues& kept_;
  const std::string command_;
  const Capabilities can_;
  const IsCompared counts_;
};

}  // namespace assay::verify
