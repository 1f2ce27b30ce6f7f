// Configurations of the Probabilistic Transformer for tests.
#pragma once

#include <string>
#include <vector>

#include "tests/reference/models.h"

namespace assay::reference::testing {

using PT = golden::ProbTransformer;

// Every extent that could be confused with another one differs: Dz=10, r=4, C=3, N=3, V=11.
ModelConfig pt_config(const PT& options = {});

struct Variant {
  std::string title;
  ModelConfig config;
};

// Every value of every option, alone and in combinations in which they could disturb each other.
const std::vector<Variant>& pt_variants();

// With centred windows, which causal heads do not have.
const std::vector<Variant>& pt_windowed_variants();
// Both.
std::vector<Variant> pt_all_variants();

}  // namespace assay::reference::testing
