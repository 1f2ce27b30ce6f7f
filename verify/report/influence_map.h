// The influence matrix as a picture and as text.
#pragma once

#include <string>

#include "verify/leakage/influence.h"

namespace assay::verify {

// SVG: a row for each position, a column for each token it may depend on. The darker, the later
// the layer in which the dependence first shows; the future has a colour of its own.
std::string influence_map_svg(const InfluenceMatrix& influence);

// A line for each position, a character for each token it may depend on: '.' nothing, a digit for
// the first layer (9 and more: '9'), '!' for the future.
std::string influence_map_text(const InfluenceMatrix& influence);

}  // namespace assay::verify
