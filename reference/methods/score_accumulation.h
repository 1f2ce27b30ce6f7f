// Methods 5.1 to 5.8: attention with the scores of all layers so far, each times a coefficient. See
// score_accumulation.cpp.
#pragma once

#include "reference/blocks/block.h"

namespace assay::reference {

// The config's method is one of 5.1 .. 5.8.
Method score_accumulation(const golden::ModelConfig& config);

// S_0 .. S_l [B,H,T,T], the site's own last.
std::vector<Node> scores_so_far(const Site& site);

}  // namespace assay::reference
