// Methods 2, 4.1, 4.2 and both plans: earlier layers run again, added at the attention. See
// recompute_attn.cpp.
#pragma once

#include "reference/methods/recompute.h"

namespace assay::reference {

Method recompute_attn(Combine how, golden::Residual residual, bool detach_stored);
Method plan_a();
Method plan_b();

}  // namespace assay::reference
