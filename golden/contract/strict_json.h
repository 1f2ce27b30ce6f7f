// JSON from files that may be damaged or hostile.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

namespace assay::golden {

struct JsonLimits {
  int depth = 3;             // of nested objects and lists
  std::size_t in_list = 32;  // values in a list
};

// Parses an object. Throws InputError beginning with `where` for anything else, text that is not
// UTF-8, a key that stands twice, and what is beyond the limits, where the parser stops at once.
nlohmann::json parse_strict_json(const std::string& text, const std::string& where,
                                 const JsonLimits& limits);

}  // namespace assay::golden
