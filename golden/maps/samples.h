// Some elements of our tensors, by which they are found in somebody else's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/names.h"
#include "golden/contract/tensor.h"
#include "golden/maps/axes.h"

namespace assay::golden {

struct Sample {
  std::vector<int64_t> index;  // along each atom
  double value = 0;
};

// One tensor of ours: its axes taken apart into atoms, (H Dh) into two, and samples of it.
struct SampledTensor {
  TensorInfo info;
  std::vector<Axis> axes;          // as docs/tensors.md has them
  std::vector<std::string> atoms;  // their names
  std::vector<int64_t> extents;    // of the atoms
  std::vector<Sample> samples;     // finite, not 0 where there is something else
  std::vector<Sample> last;        // at the last position, of tensors with logits' axes
  std::vector<Sample> masked;      // where it is -inf
  double rms = 0;                  // of the samples
  double largest = 0;

  int64_t elements() const { return element_count(info.shape); }
};

// The values of one of our tensors.
using OurValues = std::function<std::vector<double>(const std::string& name)>;

SampledTensor sample_tensor(const ModelConfig& config, const TensorInfo& info,
                            const std::map<std::string, int64_t>& extents,
                            const std::vector<double>& values);

}  // namespace assay::golden
