// The .safetensors format: 8 bytes little-endian length N, N bytes of JSON, then the data.
//
//   {"name": {"dtype": "F32", "shape": [2,3], "data_offsets": [begin, end]}, ..,
//    "__metadata__": {"key": "text", ..}}
//
// Offsets count from the end of the header. The tensors' bytes follow each other without holes and
// fill the file; elements are little-endian, row-major.
// Source: the format's description at https://github.com/huggingface/safetensors.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "golden/contract/tensor.h"
#include "golden/file/element.h"

namespace assay::golden {

struct SafetensorsEntry {
  std::string name;
  Element element = Element::f64;
  Shape shape;
  uint64_t offset = 0;  // of the data in the file
  uint64_t bytes = 0;
  std::string problem = {};  // why its type is not read, a message; "" if it is
};

// Opening checks everything but the values: a header of at most 100 MB inside of the file, JSON of
// exactly the form above, unique names, known types, shapes whose bytes match the offsets, no
// overlap, no hole. A type that is not read is an error, or with Reading::lenient a problem of the
// entry, which reading it throws. All failures are InputError with file, tensor and cause. The file
// is mapped a tensor at a time, read-only, and nothing of it is kept.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::string& path, Reading reading = Reading::strict);
  ~SafetensorsReader();
  SafetensorsReader(SafetensorsReader&&) noexcept;

  const std::string& path() const;
  const std::vector<SafetensorsEntry>& entries() const;         // in order of their data
  const SafetensorsEntry* find(const std::string& name) const;  // nullptr if there is none
  std::string metadata(const std::string& key) const;           // "" if there is none

  // Fills `out` with elements first, first + 1, .. of the tensor. Safe from any number of threads.
  void read(const SafetensorsEntry& entry, std::span<double> out, uint64_t first = 0) const;

  // XXH3-128 of the whole file, 32 hex digits: what `xxhsum -H2` prints.
  std::string file_hash() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Writes the tensors in the order given, one in memory at a time; the file has its name only when
// it is whole. Throws InputError for an existing file without force, two tensors of one name, and a
// value that its element type does not hold exactly, unless rounding is wished.
void write_safetensors(const std::string& path, const std::vector<ExchangeTensor>& tensors,
                       const std::map<std::string, std::string>& metadata, const FetchValues& fetch,
                       Rounding rounding, bool force);

}  // namespace assay::golden
