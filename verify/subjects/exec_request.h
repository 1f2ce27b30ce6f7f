// The files of a request to a program.
#pragma once

#include <string>
#include <vector>

#include "golden/contract/names.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// tokens, attention_mask and labels [B,T], position_ids [T], int32: a .npz file.
void write_inputs(const std::string& path, const Batch& batch);

// Those of `tensors` that are forced, float64: a .safetensors file.
void write_forced(const std::string& path, const std::vector<golden::TensorInfo>& tensors,
                  const Forced& forced);

}  // namespace assay::verify
