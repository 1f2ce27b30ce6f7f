// Options that name tensors: each has to name one that there is.
#pragma once

#include <set>
#include <string>

#include "verify/decoders/axes.h"

namespace assay::verify {

// Throws InputError for a pattern of --axis, or a part of --ignore, that matches none of `names`.
void check_named(const AxesOptions& axes, const std::string& ignored,
                 const std::set<std::string>& names);

}  // namespace assay::verify
