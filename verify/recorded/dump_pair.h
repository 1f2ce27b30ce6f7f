// Two recorded runs of one program whose tokens begin alike: what it handed over there has to be
// the same.
#pragma once

#include <string>
#include <vector>

#include "verify/decoders/axes.h"
#include "verify/verdict.h"

namespace assay::verify {

struct RecordedRun {
  std::string dump;    // HDF5, .npz or .safetensors
  std::string tokens;  // .npy of whole numbers [B,T] or [T]; "": tokens or input_ids of the dump
};

// Checks "tensors", what is judged, and "prefix": up to the first token that differs in a row every
// tensor is the same, bit for bit; but for rounding where one run is longer than the other. Throws
// InputError for what cannot be read, runs of different rows, and tokens with nothing in common.
std::vector<Check> judge_dump_pair(const RecordedRun& a, const RecordedRun& b,
                                   const AxesOptions& axes, const std::string& ignored);

}  // namespace assay::verify
