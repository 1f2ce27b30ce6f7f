// The block of lines that tells where a subject's gradients first go wrong, from the loss on.
#pragma once

#include <string>
#include <vector>

#include "verify/gradients/gradient_rows.h"
#include "verify/numerics/golden_values.h"
#include "verify/numerics/views.h"

namespace assay::verify {

struct GradientDivergence {
  bool local = false;  // wrong given the subject's own tensors and gradients; else against golden
  const Failure* failure = nullptr;
  std::string bound_why;
};

std::vector<std::string> gradient_divergence_block(const Case& file, const GoldenValues& golden,
                                                   HandedGradients& handed,
                                                   const GradientDivergence& divergence,
                                                   const std::string& command);

// "equals what is due times 38", "is 0 everywhere", or "".
std::string wrong_factor(const Failure& failure);

}  // namespace assay::verify
