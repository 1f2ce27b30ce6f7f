// Parts of batches.
#pragma once

#include <cstdint>
#include <vector>

#include "verify/subjects/subject.h"

namespace assay::verify {

// Positions [first, first + count) of the given rows, in their order; -1 is the first row of
// `more`.
Batch part_of(const Batch& batch, const std::vector<int64_t>& rows, int64_t first, int64_t count,
              const Batch& more);

// The same of all rows.
Batch part_of(const Batch& batch, int64_t first, int64_t count);

}  // namespace assay::verify
