// Method 5.1: attention with the scores of all layers so far. See score_accumulation.cpp.
#pragma once

#include "reference/blocks/block.h"

namespace assay::reference {

Method score_accumulation();

}  // namespace assay::reference
