// Dropout on residual branches: each layer's own O_l and U_l where they enter the stream. What
// earlier layers are run again for is not dropped.
//
// A mask is a pure function of seed, step, branch and element: word i of the stream
// "step/{step}/dropout/layers/{l}/attn" (or mlp), i counting the elements of the step's rows
// [rows,T,D] over all its micro-batches. A backward pass and a layer that is run again have the
// mask of the forward pass, whatever was kept; a run that is resumed has the masks that it would
// have had; micro-batches have those of the one batch.
#pragma once

#include <string>

#include "cuda_impl/kernels/kernels.h"
#include "golden/contract/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Of one pass of a training run.
struct DropoutPlace {
  double rate = 0;  // 0: no dropout
  uint64_t seed = 1;
  int64_t step = 1;       // from 1
  int64_t first_row = 0;  // of the step's rows

  bool drops() const { return rate > 0; }
  // Of branch "attn" or "mlp" of layer l, of rows that have row_elements each.
  DropoutMask mask(int64_t l, const char* branch, int64_t row_elements) const {
    const std::string name =
        "step/" + std::to_string(step) + "/dropout/" + golden::layer_name(l, branch);
    uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, 64 bit
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return {rate, seed, hash, static_cast<uint64_t>(first_row * row_elements)};
  }
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
