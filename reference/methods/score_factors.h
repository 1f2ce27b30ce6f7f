// Methods 5.1A to 5.1E, C-base and D-base: scores times a factor per element, key or query. See
// score_factors.cpp.
#pragma once

#include "reference/blocks/block.h"

namespace assay::reference {

// Which of them it is, the config of the site says.
Method score_factors();

}  // namespace assay::reference
