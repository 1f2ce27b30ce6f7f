// The two views of gradients, as views.h has them of tensors.
//
// Free-running: a subject's gradients against the golden ones. Local: against what the reference's
//   backward rules make of the subject's own tensors and, where it gives them, of its own gradients
//   of what reads a tensor, so that only one step's own error remains.
// Both are bounded by z * allowance * sigma, sigma from error analysis carried backwards
// (reference/interpreters/gradient_error.h).
#pragma once

#include <optional>

#include "verify/gradients/gradient_noise.h"
#include "verify/gradients/gradient_rows.h"
#include "verify/numerics/golden_values.h"
#include "verify/numerics/views.h"
#include "verify/statistics/tolerance.h"

namespace assay::verify {

// Both fill their columns of the rows and return the first failure in backward order. noise: widens
// the deviations; nullptr where nothing was sampled. tensors: the subject's own, of its forward
// pass.
std::optional<Failure> free_gradients(const Case& file, const golden::PrecisionSchedule& schedule,
                                      const Tolerance& tolerance, RowNoise* noise,
                                      const Ledger& tensors, HandedGradients& handed,
                                      GoldenValues& golden);

std::optional<Failure> local_gradients(const Case& file, const golden::PrecisionSchedule& schedule,
                                       const Tolerance& tolerance, RowNoise* noise,
                                       const Ledger& tensors, HandedGradients& handed);

// Whether that view starts from the subject's own gradient of a tensor.
GivenGradient own_gradients(const HandedGradients& handed);

}  // namespace assay::verify
