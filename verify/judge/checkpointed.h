// mode: checkpointed: a subject that keeps less of a forward pass and forms it again for the
// backward one gives the gradients of the one that keeps all, bit for bit.
#pragma once

#include <optional>

#include "verify/numerics/case.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::verify {

// Absent where the subject gives no gradients or has no such form (Subject::checkpointed).
std::optional<Check> checkpointed_check(const Case& file, Subject& subject);

}  // namespace assay::verify
