// Text inside XML and HTML.
#pragma once

#include <string>

namespace assay::verify {

// Escapes & < > " ' and replaces bytes that neither may hold (control characters, and whatever is
// not UTF-8) by '?'.
std::string escape_markup(const std::string& text);

}  // namespace assay::verify
