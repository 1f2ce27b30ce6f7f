// y[b,t,:] = w[tokens[b,t],:]
//
//   tokens [B,T] whole numbers in [0, V), w [V,D]. A token out of range is an InputError.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node embedding(Node tokens, Node weight);

}  // namespace assay::reference
