#include "golden/contract/error.h"

#include "golden/contract/names.h"

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
  return one_line(shown);
}

std::string one_line(const std::string& text) {
  std::string shown;
  shown.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = [&](std::size_t k) {
      return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u;
    };
    const bool c1 = byte(0) == 0xc2 && byte(1) >= 0x80 && byte(1) <= 0x9f;
    const bool turns =
        byte(0) == 0xe2 && ((byte(1) == 0x80 && byte(2) >= 0xaa && byte(2) <= 0xae) ||
                            (byte(1) == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9));
    if (c1 || turns || byte(0) < 0x20 || byte(0) == 0x7f) {
      shown += '?';
      i += c1 ? 1 : turns ? 2 : 0;
    } else {
      shown += text[i];
    }
  }
  return shown;
}

}  // namespace golden

}  // namespace assay
