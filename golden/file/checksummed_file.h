// A golden file below HDF5: its manifest, and the raw data behind each row of it.
#pragma once

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "golden/file/hasher.h"
#include "golden/file/manifest.h"

namespace assay::golden {

// Opening takes steps 1 to 3 of manifest.h, stream() step 4; none of them needs HDF5. All failures
// are InputError with file, dataset and cause.
class ChecksummedFile {
 public:
  explicit ChecksummedFile(const std::string& path);

  const std::string& path() const { return path_; }
  const std::vector<ManifestRow>& rows() const { return rows_; }
  // Where the raw data of a row lies; without bytes if it is not stored.
  const Extent& extent(std::size_t row) const { return extents_[row]; }
  std::optional<std::size_t> find(const std::string& dataset) const;

  // The first stored row that `present`, sorted, has not.
  std::optional<std::string> first_missing(const std::vector<std::string>& present) const;

  // Streams the raw data of a stored row through sink(offset in the data), which says where the
  // next piece goes, and checks its hash.
  template <class Sink>
  void stream(std::size_t row, Sink&& sink) const {
    Hasher hasher;
    for (uint64_t done = 0; done < extents_[row].bytes;) {
      const uint64_t bytes = std::min(kPiece, extents_[row].bytes - done);
      char* piece = sink(done);
      raw_.read({extents_[row].offset + done, bytes}, piece);
      hasher.add(piece, bytes);
      done += bytes;
    }
    check_hash(row, hasher.hex());
  }
  // Reads and checks every stored row, in parallel; returns the bytes read. What is read later is
  // not checked again.
  uint64_t check_all() const;
  // The raw data of a stored row of floats as doubles, its hash checked unless check_all() did.
  void read_floats(std::size_t row, std::span<double> out) const;

 private:
  static constexpr uint64_t kPiece = 1 << 19;  // bytes read and hashed at once: stays in the cache

  void check_checksums();
  void read_manifest(const Block& block);
  std::optional<std::string> first_missing_of_altered() const;
  void check_hash(std::size_t row, const std::string& got) const;

  std::string path_;
  RawFile raw_;
  std::vector<ManifestRow> rows_;
  std::vector<Extent> extents_;  // of rows
  std::map<std::string, std::size_t> index_;
  mutable std::atomic<bool> all_checked_ = false;
};

// Whether the file starts as golden files do; throws InputError for one that cannot be read.
bool is_golden_file(const std::string& path);

// Messages that the reader of a file's HDF5 side words alike.
std::string damaged(const std::string& where, const std::string& what, const std::string& expected,
                    const std::string& got);
std::string not_there(const std::string& path, const std::string& dataset);

}  // namespace assay::golden
