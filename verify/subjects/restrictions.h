// What a map makes of a dump's tensor, as the judge takes it.
#pragma once

#include <string>

#include "golden/maps/mapped_dump.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// needed: it is compared, so that copies that should be equal are read and looked at.
Restrictions restrictions_of(const golden::MappedDump& dump, const std::string& name, bool needed);

}  // namespace assay::verify
