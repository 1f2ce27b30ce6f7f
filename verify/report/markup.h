// Text inside XML and HTML.
#pragma once

#include <string>
#include <vector>

namespace assay::verify {

// Escapes & < > " ' and replaces bytes that neither may hold (control characters, and whatever is
// not UTF-8) by '?'.
std::string escape_markup(const std::string& text);

// The same of lines, each with its end.
std::string escape_markup(const std::vector<std::string>& lines);

}  // namespace assay::verify
