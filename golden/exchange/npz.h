// .npz files: a zip archive with one .npy array a member, as numpy.savez and savez_compressed write
// it. A member "layers/0/attn/q.npy" is the array "layers/0/attn/q".
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "golden/exchange/npy.h"
#include "golden/file/element.h"

namespace assay::golden {

struct NpzEntry {
  std::string name;
  NpyHeader header = {};
  uint64_t member = 0;        // its number in the archive
  uint64_t header_bytes = 0;  // in front of the data
  std::string problem = {};   // why it is no tensor, a message; "" if it is one
};

// Opening checks the archive's structure and every array's header; reading an array checks its CRC.
// A member that is no array of numbers (strings, objects) is an error, or with Reading::lenient an
// entry with a problem, which reading it throws. Stored and deflated members. All failures are
// InputError with file, array and cause, and nothing is made larger than deflate can pack into the
// file.
class NpzReader {
 public:
  explicit NpzReader(const std::string& path, Reading reading = Reading::strict);
  ~NpzReader();
  NpzReader(NpzReader&&) noexcept;

  const std::vector<NpzEntry>& entries() const;  // in order of the archive
  // Row-major values, whichever order the array is stored in. From one thread at a time.
  std::vector<double> read(const NpzEntry& entry) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Writes the tensors in the order given, stored, without times, one in memory at a time; the file
// has its name only when it is whole. Throws InputError as write_safetensors does, and for BF16.
void write_npz(const std::string& path, const std::vector<ExchangeTensor>& tensors,
               const FetchValues& fetch, Rounding rounding, bool force);

}  // namespace assay::golden
