// What a golden file says about itself: the manifest's records, hashes, statistics, and the text
// block at the start of the file that every other check hangs on.
//
// The order of trust when a file is opened; nothing is interpreted before it is checked:
//   1. the block       its own hash, then the size of the file
//   2. the manifest    plain records; place, size and hash stand in the block
//   3. the metadata    all bytes that are in no extent of 1, 2 or 4; one hash in the block
//   4. the raw data    one hash a dataset in the manifest, checked by each read
// The four cover every byte of the file once, and 1 to 4 need no HDF5.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "golden/file/golden_file.h"
#include "golden/file/raw_file.h"

namespace assay::golden {

inline constexpr char kSchema[] = "assay-golden";
inline constexpr int64_t kSchemaVersion = 1;
inline constexpr std::size_t kBlockBytes = 512;  // HDF5's user block
inline constexpr std::size_t kMostAxes = 8;
inline constexpr char kDependenceAxes[] = "TS";  // attribute axes of /dependence/<name>

// A row as it lies in /manifest, without padding. Texts are filled up with zeros.
struct ManifestRecord {
  std::array<char, 192> path;
  std::array<char, 16> dtype;
  std::array<char, 16> role;
  std::array<char, 32> hash;
  int64_t rank;
  std::array<int64_t, kMostAxes> shape;
  double min, max, rms, zero_share;
  int64_t nonfinite;
  int64_t stored;  // 0 or 1
  int64_t offset;  // of the raw data in the file, -1 if there is none
  int64_t bytes;   // of the raw data, in the file or not
};
static_assert(sizeof(ManifestRecord) == 192 + 16 + 16 + 32 + 17 * 8);

// Throws InputError for a path or a rank that has no room in a record.
ManifestRecord to_record(const ManifestRow& row, int64_t offset, const std::string& where);
// Throws InputError for a record that no writer writes.
ManifestRow from_record(const ManifestRecord& record, const std::string& where);

uint64_t raw_bytes(const ManifestRow& row);

// A float32 or float64 tensor's statistics do not depend on the number of threads: sums run over
// fixed lanes and fixed chunks in ascending order.
Statistics statistics(std::span<const double> values);
Statistics statistics(std::span<const int32_t> values);
Statistics statistics(std::span<const uint8_t> values);

// The values as float32 if each of them is one exactly, NaN excepted; else empty.
std::vector<float> as_exact_floats(std::span<const double> values);

// XXH3-128 of schema, config, seed and, sorted by path, each row's path, dtype, shape, role and
// hash: of what was computed, not of how much of it was kept, when, or on which machine.
std::string root_hash(const std::string& config_json, uint64_t seed,
                      std::span<const ManifestRow> rows);

// The first kBlockBytes of the file, as text.
struct Block {
  uint64_t file_bytes = 0;
  Extent manifest;
  std::string manifest_hash;
  std::string metadata_hash;
};

std::string block_text(const Block& block);
// Throws InputError for anything that block_text does not write, a newer version by name.
Block parse_block(const std::string& text, const std::string& where);

// XXH3-128 of all bytes from the block's end to the file's end that lie in no extent. Throws
// InputError for extents that overlap or leave the file.
std::string metadata_hash(const RawFile& file, uint64_t file_bytes, std::vector<Extent> extents,
                          const std::string& where);

}  // namespace assay::golden
