// JSON from files that may be damaged or hostile: the one reader of all JSON that somebody else
// wrote.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

namespace assay::golden {

struct JsonLimits {
  int depth = 3;             // of nested objects and lists
  std::size_t in_list = 32;  // values in a list
};

// For files that people write: configs, suites.
inline constexpr JsonLimits kHandWritten{.depth = 16, .in_list = std::size_t{1} << 20};

// Parses an object. Throws InputError beginning with `where`, with line and column, for anything
// else: text that is not UTF-8, a key that stands twice, a number beyond double, bytes behind the
// object, and what is beyond the limits, where the parser stops at once. Takes time linear in the
// text.
nlohmann::json parse_strict_json(const std::string& text, const std::string& where,
                                 const JsonLimits& limits);
// The same; keys keep their order.
nlohmann::ordered_json parse_strict_ordered_json(const std::string& text, const std::string& where,
                                                 const JsonLimits& limits);

}  // namespace assay::golden
