// Dropout on residual branches: O_l and U_l of each layer, element by element,
//
//   y_i = x_i / (1 - p)  where word i of the stream is at least p 2^32,  else 0
//
// The stream (golden/contract/random.h) is named by step and branch, and i counts the elements of
// the step's rows [N,T,D] over all its micro-batches: a mask is a pure function of seed, step,
// branch and element. Computed again it is the same, and so it is whatever the micro-batches are.
// Source: Srivastava et al., "Dropout", JMLR 15, 2014; scaled in training, as in PyTorch.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace assay::reference {

struct Dropout {
  double rate = 0;  // p, in [0, 1)
  uint64_t seed = 1;
};

// Elements first, first + 1, .. of the mask of a branch ("dropout/layers/2/attn", the name of the
// graph's input) in step number `step`, from 1.
void dropout_mask(const Dropout& dropout, int64_t step, const std::string& branch, uint64_t first,
                  std::span<double> mask);

}  // namespace assay::reference
