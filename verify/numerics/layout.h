// How a tensor's axes are written for people, and what layout a wrong shape looks like.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "golden/contract/tensor.h"

namespace assay::verify {

// "(B,H,T,Dh)": axes are the letters of golden/names.h.
std::string axes_text(const std::string& axes);

// "(b1,h4,t17,s9)"
std::string index_text(const golden::Shape& shape, const std::string& axes, int64_t element);

// "looks transposed", "looks like (B,T,H,Dh)", "looks like (B,T,H*Dh), heads concatenated", or "";
// also for axes that are joined or missing, repeated key/value heads and a padded vocabulary.
std::string layout_hint(const golden::Shape& due, const std::string& axes,
                        const golden::Shape& got);

// Where marked elements lie when they share something: "all at h4, t17..31, future keys (s > t)";
// "" when they are spread over the whole tensor. marked[i] is not 0 for marked elements.
std::string location_text(const golden::Shape& shape, const std::string& axes,
                          std::span<const char> marked);

}  // namespace assay::verify
