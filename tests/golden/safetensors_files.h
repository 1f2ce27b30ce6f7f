// .safetensors files made by hand, byte by byte.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "tests/golden/sample.h"

namespace assay::golden::sample {

template <class T>
std::string bytes_of_values(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof length);
  return bytes + header + data;
}

// Three tensors of different types and shapes, 4 + 24 + 6 bytes of data, and metadata.
inline std::string small_safetensors() {
  return safetensors_bytes(
      R"({"__metadata__":{"format":"pt"},)"
      R"("ones":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]},)"
      R"("layers.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[4,28]},)"
      R"("brain":{"dtype":"BF16","shape":[3,1],"data_offsets":[28,34]}})",
      "\x01\x01\x01\x01" + bytes_of_values<float>({1, 2, 3, 4, 5, 6}) +
          bytes_of_values<uint16_t>({0x3f80, 0x4000, 0x4040}));
}

}  // namespace assay::golden::sample
