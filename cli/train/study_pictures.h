// The pictures of a study, as SVG.
#pragma once

#include <string>
#include <vector>

#include "cli/train/study_rows.h"

namespace assay::cli {

// Losses of val over the steps, means over the seeds, with the oracle and log V; a plot for each
// group of methods, with the plain block in each.
std::string study_losses_svg(const std::vector<StudyRow>& rows);

// Gradient norms by layer, geometric means over steps and seeds.
std::string study_gradients_svg(const std::vector<StudyRow>& rows);

}  // namespace assay::cli
