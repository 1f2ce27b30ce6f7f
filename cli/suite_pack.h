// assay suite pack: what a machine with a GPU and nothing else needs to judge kernels
// (golden/contract/pack.h).
#pragma once

#include "cli/command.h"

namespace assay::cli {

void add_suite_pack(CLI::App& suite, Outcome& outcome);

}  // namespace assay::cli
