// The two views of tensors as checks of the report.
#pragma once

#include <string>
#include <vector>

#include "verify/numerics/checkpoint_row.h"
#include "verify/numerics/golden_values.h"
#include "verify/numerics/ledger.h"
#include "verify/statistics/tolerance.h"
#include "verify/verdict.h"

namespace assay::verify {

// part: of a subject that hands over what it chooses to; nothing compared is then inconclusive.
Check free_check(const std::vector<CheckpointRow>& rows, const Tolerance& tolerance,
                 const GoldenValues& golden, bool part, double seconds);

// inputs: what each checkpoint was computed from. forced: the ledger of a run with forced inputs;
// nullptr where there was none.
Check local_check(const std::vector<CheckpointRow>& rows, const std::string& inputs,
                  const Ledger* forced, bool part, double seconds);

}  // namespace assay::verify
