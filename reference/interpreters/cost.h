// Counts what evaluating a graph takes, without evaluating it.
#pragma once

#include <cstdint>

#include "reference/graph/graph.h"

namespace assay::reference {

struct Cost {
  double flops = 0;        // a multiply-add counts two
  double bytes = 0;        // read and written, every operand and result once per node, as doubles
  int64_t peak_bytes = 0;  // the largest live set of evaluate(), weights included
  int64_t weight_bytes = 0;
};

Cost cost_of(const Graph& graph);

}  // namespace assay::reference
