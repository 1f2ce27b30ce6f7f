// Command lines as text that a shell reads back.
#pragma once

#include <string>

#include "cli/judge.h"

namespace assay::cli {

// The arguments as typed, behind the program's name.
std::string typed_command(int argc, const char* const* argv);

// What judges the same file, subject and precision under the same rule, with no checkpoint chosen:
// a report adds --only.
std::string judging_command(const JudgeOptions& options);

}  // namespace assay::cli
