#include "golden/contract/error.h"

#include <algorithm>

namespace assay {

void fail_check(const char* condition, const std::string& values, const char* file, int line) {
  throw InternalError(std::string(file) + ":" + std::to_string(line) + ": " + condition +
                      " does not hold: " + values);
}

namespace golden {

std::string printable(const std::string& text) {
  constexpr std::size_t kMostShown = 120;
  std::string shown = text.substr(0, kMostShown);
  if (shown.size() < text.size()) shown += "..";
  std::replace_if(
      shown.begin(), shown.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return shown;
}

}  // namespace golden

}  // namespace assay
