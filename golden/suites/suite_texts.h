// The files of golden/suites/, compiled in, so that a suite is there from any directory.
#pragma once

#include <span>

namespace assay::golden {

struct EmbeddedText {
  const char* name;  // without its ending
  const char* text;
};

extern const std::span<const EmbeddedText> kSuiteTexts;  // *.json
extern const std::span<const EmbeddedText> kHashTexts;   // *.hashes

}  // namespace assay::golden
