// Methods 1, 3.1 and 3.2: earlier layers run again, added at the MLP. See recompute_mlp.cpp.
#pragma once

#include "reference/methods/recompute.h"

namespace assay::reference {

Method recompute_mlp(Combine how, golden::Residual residual, bool detach_stored);

}  // namespace assay::reference
