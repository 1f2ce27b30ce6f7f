// What a cache gives of a sequence that is read piece by piece, put together to whole tensors.
#pragma once

#include <map>
#include <string>

#include "verify/judge/chunkings.h"
#include "verify/judge/parts.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// Reads the batch into the subject's cache, in which `others` stood before (no positions: nothing
// did), for what is left of them must not show. A tensor of a piece has its n positions, the last
// one alone (with an axis for it or without), or all up to there; throws SubjectFailure for any
// other shape.
PartTensors decode_in(Subject& subject, const Batch& batch, const Chunking& chunking,
                      const std::map<std::string, Places>& wanted, const Batch& others);

}  // namespace assay::verify
