// Finds how the axes of a pattern lie in a tensor: which extents they have, and which strides.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "golden/maps/gather.h"

namespace assay::golden {

// source: the shape of theirs, due that of ours. extents: those that are known; others follow from
// the shapes. Throws InputError beginning with `where` for what does not fit.
GatherPlan bind_axes(const GatherRule& rule, const AxisPattern& pattern, const Shape& source,
                     const Shape& due, std::map<std::string, int64_t> extents,
                     const std::string& where);

}  // namespace assay::golden
