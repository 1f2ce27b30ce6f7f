// What a recorded run was of.
#pragma once

#include <string>

#include "golden/contract/tensor.h"

namespace assay::golden {

// The tokens of a dump (HDF5, .npz or .safetensors): tokens or input_ids, at its root or below
// /inputs; without values where it has none. Throws InputError for what cannot be read.
Tensor dump_tokens(const std::string& file);

}  // namespace assay::golden
