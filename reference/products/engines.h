// What products.cpp dispatches to. Shapes are checked and M, N, K are at least 1. Internal.
#pragma once

#include "reference/products/products.h"

namespace assay::reference {

void multiply_ordered(Matrix c, ConstMatrix a, ConstMatrix b, bool accumulate);
void multiply_blas(Matrix c, ConstMatrix a, ConstMatrix b, bool accumulate);

}  // namespace assay::reference
