// untapped: a run in which nobody looks between operations gives the results of the one that was
// judged, bit for bit. What is judged is a run with every tensor read out; a subject that joins
// operations, or forms logits in tiles, does so only in the other one.
#pragma once

#include "verify/numerics/case.h"
#include "verify/numerics/ledger.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

// Logits and loss of runs that ask for one of them alone, against those in the ledger, which holds
// the tapped run. For a subject that can_run_untapped.
Check untapped_check(const Case& file, Subject& subject, const Ledger& ledger);

}  // namespace assay::verify
