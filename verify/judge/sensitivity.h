// mode: sensitivity: one token changed, in every tensor the positions change that change in the
// reference, and no others. A window that is one too wide or too narrow, sinks that are dropped, a
// dead mask: each shows in some pair of positions.
//
//   must change      where the reference changes by far more than rounding of the subject's types,
//                    and still does with every tensor rounded to those
//   must not change  where the reference, in double precision, has the same bits: what is masked
//                    adds exactly 0 there
#pragma once

#include "verify/judge/parts.h"
#include "verify/numerics/case.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

// Of the tensors that are kept. The tokens that are changed are the sequence's first and last and
// those at the edges of windows and sinks.
Check sensitivity_check(const Case& file, Subject& subject, const KeptValues& kept,
                        const IsCompared& is_compared);

}  // namespace assay::verify
