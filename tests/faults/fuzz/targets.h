// The parsers of what a user hands over, each as a function of bytes that may throw InputError and
// nothing else.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace assay::fuzz {

struct Target {
  std::string_view name;
  std::vector<std::string> (*seeds)();      // small inputs that are accepted
  void (*parse)(const std::string& bytes);  // what escapes but InputError is a finding
};

const std::vector<Target>& targets();
const Target& target(std::string_view name);  // throws std::out_of_range

// Whether the parser accepts the bytes. Lets everything but InputError through.
bool accepts(const Target& target, const std::string& bytes);

// The name of a file that holds the bytes, in a folder of this process that goes with it.
std::string file_of(const std::string& name, const std::string& bytes);

}  // namespace assay::fuzz
