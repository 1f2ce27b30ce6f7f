// Compares a subject's gradients with those of a golden file, from the loss backwards, in the two
// views of verify/gradients/gradient_views.h.
#pragma once

#include <string>
#include <vector>

#include "verify/judge/numerics.h"
#include "verify/numerics/case.h"
#include "verify/numerics/golden_values.h"
#include "verify/numerics/ledger.h"

namespace assay::verify {

struct GradientsResult {
  std::vector<Check> checks;  // ledger, free-running and local; one alone where the subject failed
  std::vector<CheckpointRow> rows;  // in backward order
  std::string diverged;             // name of the first divergence, "" if there is none
  std::vector<std::string> first_divergence;
};

// "gradients: not judged: ..", where that is not what was asked for; "" if they are.
std::string why_gradients_are_not_judged(const Case& file, const Subject& subject);

// tensors: what the subject's forward pass handed over. For a subject that can_grad and a file that
// has gradients which are asked for.
GradientsResult verify_gradients(const Case& file, Subject& subject, const Ledger& tensors,
                                 GoldenValues& golden, const NumericsOptions& options);

}  // namespace assay::verify
