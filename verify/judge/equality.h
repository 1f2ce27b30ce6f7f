// Judges by equality: each checkpoint is the golden value rounded once to the type that it is
// handed over in. For golden files whose values no implementation has to round on the way
// (golden/suites/exact_weights.h), so a difference of one bit is a defect and no tolerance enters.
//
// Zeros of either sign are equal, an infinity is equal to itself, a NaN to nothing. A golden tensor
// that is all zero or holds NaN or infinities shows nothing and is untrusted.
#pragma once

#include "verify/judge/numerics.h"

namespace assay::verify {

// Checks: the ledger, equality, and untapped and decode where they can be. The rows' free-running
// columns count elements that differ; their local columns and bounds stay 0.
NumericsResult verify_equality(const golden::GoldenReader& golden, Subject& subject,
                               const NumericsOptions& options);

}  // namespace assay::verify
