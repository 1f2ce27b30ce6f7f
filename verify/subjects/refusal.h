// A subject that will not answer one request.
#pragma once

#include "verify/subjects/program.h"

namespace assay::verify {

// It said so, and may answer another.
struct SubjectRefusal : SubjectFailure {
  using SubjectFailure::SubjectFailure;
};

}  // namespace assay::verify
