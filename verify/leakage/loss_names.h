// Tensors that labels belong in.
#pragma once

#include <algorithm>
#include <cctype>
#include <string>

namespace assay::verify {

// Whether a tensor is named as a loss is, or what is counted with it: labels are what it is made
// of, and the token that a position's loss is of may be the next one.
inline bool tells_of_labels(const std::string& name) {
  std::string last = name.substr(name.find_last_of("/.") + 1);
  std::transform(last.begin(), last.end(), last.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  static constexpr const char* kWords[] = {"loss", "nll", "perplexity", "accuracy"};
  return last == "labels" ||
         std::any_of(std::begin(kWords), std::end(kWords),
                     [&](const char* word) { return last.find(word) != std::string::npos; });
}

}  // namespace assay::verify
