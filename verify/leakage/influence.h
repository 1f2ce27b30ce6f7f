// Who sees whom.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace assay::verify {

// first_layer[t * positions + s]: the first layer in which row t of any tensor changed when token s
// was changed; 0 = the embedding, l + 1 = layer l, L + 1 = after the last layer, -1 = nowhere.
struct InfluenceMatrix {
  int64_t positions = 0;
  std::vector<int> first_layer;
  // Of a program whose layers nobody knows: its tensors, and first_layer counts them instead.
  std::vector<std::string> tensors = {};
};

}  // namespace assay::verify
