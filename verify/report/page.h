// How every page of HTML begins: its style is the same.
#pragma once

#include <string>

#include "verify/verdict.h"

namespace assay::verify {

// Up to the verdict's line, which stands in the colour of the status. No script, no font, no
// network. `style` is added to the common one.
std::string page_start(Status status, const std::string& verdict, const std::string& title,
                       const std::string& style);

}  // namespace assay::verify
