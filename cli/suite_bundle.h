// assay suite bundle: what a machine with a GPU and nothing else needs to judge kernels
// (golden/contract/test_bundle.h).
#pragma once

#include "cli/command.h"

namespace assay::cli {

void add_suite_bundle(CLI::App& suite, Outcome& outcome);

}  // namespace assay::cli
