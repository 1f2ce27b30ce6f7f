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

Check free_check(const std::vector<CheckpointRow>& rows, const Tolerance& tolerance,
                 const GoldenValues& golden, double seconds);

// inputs: what each checkpoint was computed from. forced: the ledger of a run with forced inputs;
// nullptr where there was none.
Check local_check(const std::vector<CheckpointRow>& rows, const std::string& inputs,
                  const Ledger* forced, double seconds);

}  // namespace assay::verify
