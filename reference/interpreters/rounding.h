// Evaluates a graph as an implementation with a given precision schedule would: every operation is
// rounded to the accumulator type, every named tensor to its storage type. One sample of the
// rounding noise that the error interpreter bounds.
#pragma once

#include <cstdint>

#include "golden/contract/precision.h"
#include "reference/interpreters/value.h"

namespace assay::reference {

enum class RoundingMode {
  nearest,    // ties to even
  stochastic  // up or down with the probability that makes the expectation exact
};

// Sums run in the reference's order, ascending; a product's element is one chain of fused
// multiply-adds. Unnamed tensors stay in the accumulator type. Inputs and weights are read as they
// are. The same seed gives the same samples on any number of threads; nearest ignores it.
// The observer sees, and may replace, what is stored.
void evaluate_rounded(const Graph& graph, const Bindings& bindings,
                      const golden::PrecisionSchedule& schedule, RoundingMode mode, uint64_t seed,
                      Observer& observer);

}  // namespace assay::reference
