// A picture in numbers of where the error is: tensors down, layers across.
#pragma once

#include <string>
#include <vector>

#include "verify/numerics/checkpoint_row.h"

namespace assay::verify {

// Where a checkpoint stands in the map. "layers/3/recompute/1/v" is row "recompute/*/v", layer 3;
// "logits" is row "logits", layer -1.
struct MapPlace {
  std::string row;
  int layer = -1;
};

MapPlace map_place(const std::string& checkpoint);

// HTML table. A cell shows the largest free-running and the largest local ratio of its checkpoints
// (several where earlier layers are recomputed), or the name of the fault.
std::string error_map_html(const std::vector<CheckpointRow>& rows);

}  // namespace assay::verify
