// Method 1: earlier layers run again on the current stream, added at the MLP. See
// recompute_mlp.cpp.
#pragma once

#include "reference/blocks/block.h"

namespace assay::reference {

Method recompute_mlp(golden::Residual residual);

}  // namespace assay::reference
