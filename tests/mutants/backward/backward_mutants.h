// Planted defects of backward passes: the forward pass is right, a gradient rule is not.
#pragma once

#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "tests/mutants/backward/defective_gradient.h"

namespace assay::mutants {

// In 16 bits bounds can be wider than what a defect does.
enum class InBf16 {
  found,
  with_tensors,  // where the gradients of tensors are given
  hidden
};

struct BackwardMutant {
  std::string id;  // what is wrong
  golden::ModelConfig config;
  std::string operation;  // its name, "softmax"
  std::string at;         // begins the node's description: "layers/1/attn/probs"; "" everywhere
  DefectiveRule rule;
  // The first wrong gradient, from the loss backwards: where every tensor's is given, and where
  // those of weights alone are.
  std::string first, first_weight;
  InBf16 in_bf16 = InBf16::found;
};

std::vector<BackwardMutant> backward_mutants();

}  // namespace assay::mutants
