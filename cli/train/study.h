// Every method on the same data and seeds, compared.
#pragma once

#include "cli/train/options.h"

namespace assay::cli {

// A run of each method, and of those that take it with --residual replace, in a folder each of
// --out; prints a table and writes it into --out, as text and as JSON. With --resume runs that are
// over are left as they are. Returns false where it was stopped.
bool study(const TrainRunOptions& options, const GivenOptions& given);

}  // namespace assay::cli
