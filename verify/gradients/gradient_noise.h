// Errors of gradients that do not add up as independent ones, sampled as sampled_noise.h does it of
// tensors: each tensor's and each gradient's own error is drawn, equal values erring alike, and the
// reference carries them forwards and backwards.
#pragma once

#include <functional>
#include <string>

#include "verify/numerics/case.h"
#include "verify/numerics/row_noise.h"

namespace assay::verify {

// Whether what reads a tensor starts from its gradient as it is given, exactly; by the tensor's
// name.
using GivenGradient = std::function<bool(const std::string& name)>;

// What is run: the graph of a model and what its inputs are bound to.
struct NoisyRun {
  const reference::Graph& graph;
  const reference::Bindings& bindings;
  const std::string& method;
};

// Of the whole run: of every gradient, and of "loss".
RowNoise free_gradient_noise(const NoisyRun& run, const golden::PrecisionSchedule& schedule);
RowNoise free_gradient_noise(const Case& file, const golden::PrecisionSchedule& schedule);
// Of the backward pass alone, from exact tensors and given gradients.
RowNoise local_gradient_noise(const Case& file, const golden::PrecisionSchedule& schedule,
                              const GivenGradient& given);

}  // namespace assay::verify
