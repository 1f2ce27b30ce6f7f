// Several candidates judged by one golden file, one after the other, and set side by side.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cli/judge.h"
#include "verify/report/report.h"

namespace assay::cli {

inline constexpr std::size_t kMostCandidates = 8;  // of a table that can be read

std::string candidate_label(std::size_t index);  // "A"

// All are judged by the golden file and checkpoint of the first. Throws InputError or NoDevice
// where one of them cannot be had; one that fails by itself is a verdict.
verify::RunReport judge_side_by_side(const std::vector<JudgeOptions>& candidates);

}  // namespace assay::cli
