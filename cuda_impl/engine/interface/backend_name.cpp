#include "cuda_impl/engine/interface/backend_name.h"

#include <charconv>
#include <set>

#include "golden/contract/error.h"

namespace assay::cuda {
namespace {

constexpr const char* kOptions =
    "expected :stacked, :stored=BYTES, :stack=BYTES, :head=BYTES, :span=KEYS, :block=POSITIONS, "
    ":blocks=COUNT, "
    ":keep=all|shared|inputs, :fast-atomics, each at most once";

std::size_t parse_number(const std::string& backend, const std::string& key,
                         const std::string& text) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  const bool span = key == "span", of_cache = key == "block" || key == "blocks";
  const bool in_range = of_cache ? number >= 1 && number <= 1U << 30
                                 : !span || (number % 32 == 0 && number <= 1U << 30);
  if (whole && in_range) return number;
  const char* const expected = span       ? "a multiple of 32"
                               : of_cache ? "a number from 1 to 1073741824"
                                          : "a number of bytes";
  throw InputError("backend " + backend + ": " + key + ": expected " + expected + ", got '" + text +
                   "'");
}

// The option that a key with "=NUMBER" sets; nullptr for any other key.
std::size_t* number_of(ModelOptions& options, const std::string& key) {
  if (key == "stored") return &options.stored_bytes;
  if (key == "stack") return &options.stack_bytes;
  if (key == "head") return &options.head_bytes;
  if (key == "span") return &options.key_span;
  if (key == "block") return &options.cache.positions;
  if (key == "blocks") return &options.cache.count;
  return nullptr;
}

}  // namespace

Keep parse_keep(const std::string& where, const std::string& word) {
  if (word == "all") return Keep::all;
  if (word == "shared") return Keep::shared;
  if (word == "inputs") return Keep::inputs;
  throw InputError(where + ": expected all, shared or inputs, got '" + word + "'");
}

BackendName parse_backend_name(const std::string& text) {
  BackendName parsed;
  std::size_t colon = text.find(':');
  parsed.name = text.substr(0, colon);
  std::set<std::string> seen;
  while (colon != std::string::npos) {
    const std::size_t next = text.find(':', colon + 1);
    const std::string option = text.substr(colon + 1, next - colon - 1);
    const std::size_t equals = option.find('=');
    const std::string key = option.substr(0, equals);
    if (option == "stacked") {
      parsed.options.recompute = Recompute::stacked;
    } else if (option == "fast-atomics") {
      parsed.options.fast_atomics = true;
    } else if (key == "keep" && equals != std::string::npos) {
      parsed.options.keep = parse_keep("backend " + text + ": keep", option.substr(equals + 1));
    } else if (std::size_t* number = number_of(parsed.options, key);
               number != nullptr && equals != std::string::npos) {
      *number = parse_number(text, key, option.substr(equals + 1));
    } else {
      throw InputError("backend " + text + ": " + kOptions + ", got ':" + option + "'");
    }
    if (!seen.insert(key).second) {
      throw InputError("backend " + text + ": " + kOptions + ", got ':" + key + "' again");
    }
    colon = next;
  }
  if (parsed.options.cache.count > 0 && parsed.options.cache.positions == 0) {
    throw InputError("backend " + text + ": blocks: expected :block=POSITIONS beside it");
  }
  return parsed;
}

}  // namespace assay::cuda
