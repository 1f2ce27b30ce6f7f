// .npz files made by hand: any bytes as members, stored or deflated.
#pragma once

#include <zip.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/golden/safetensors_files.h"

namespace assay::golden::sample {

using Members = std::vector<std::pair<std::string, std::string>>;  // name in the archive, bytes

inline void put_zip(const std::string& path, const Members& members,
                    zip_int32_t method = ZIP_CM_STORE) {
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  if (archive == nullptr) throw std::runtime_error(path);
  for (const auto& [name, bytes] : members) {
    zip_source_t* source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
    const zip_int64_t number = zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8);
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(number), method, 0);
  }
  if (zip_close(archive) != 0) throw std::runtime_error(zip_strerror(archive));
}

// An array of format version 1 with this dictionary, not padded.
inline std::string npy_bytes(const std::string& dictionary, const std::string& data) {
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(dictionary.size() & 255);
  bytes += static_cast<char>(dictionary.size() >> 8);
  return bytes + dictionary + data;
}

inline std::string dictionary(const std::string& descr, const std::string& shape,
                              const std::string& fortran = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

// Two arrays, [2,3] and [4].
inline Members small_arrays() {
  return {{"layers/0/attn/q.npy",
           npy_bytes(dictionary("<f4", "(2, 3)"), bytes_of_values<float>({1, 2, 3, 4, 5, 6}))},
          {"tokens.npy",
           npy_bytes(dictionary("<i8", "(4,)"), bytes_of_values<int64_t>({7, -1, 0, 5}))}};
}

}  // namespace assay::golden::sample
