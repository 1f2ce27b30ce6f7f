#include "golden/file/checksummed_file.h"

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <array>

#include "golden/contract/error.h"
#include "golden/file/element.h"
#include "golden/file/files.h"
#include "golden/file/hasher.h"
#include "golden/file/hdf5.h"

namespace assay::golden {
namespace {

// Files that do not start with a block of ours.
[[noreturn]] void reject_foreign(const std::string& path, const RawFile& raw) {
  constexpr std::array<char, 8> kSignature = {'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};
  const uint64_t size = raw.size();
  for (uint64_t at = 0; at + kSignature.size() <= size; at = at == 0 ? 512 : 2 * at) {
    std::array<char, 8> found;
    raw.read({at, found.size()}, found.data());
    if (found != kSignature) continue;
    throw InputError(fmt::format(
        "{}: foreign schema: expected a file that starts with '{}', got some other HDF5 file (or a "
        "golden file that another tool rewrote); 'assay generate' makes golden files",
        path, kSchema));
  }
  throw InputError(
      fmt::format("{}: not an HDF5 file: expected a golden file, got {} bytes of "
                  "something else",
                  path, size));
}

Block read_block(const std::string& path, const RawFile& raw) {
  const uint64_t size = raw.size();
  std::string text(std::min<uint64_t>(kBlockBytes, size), '\0');
  raw.read({0, text.size()}, text.data());
  if (!text.starts_with(kSchema)) reject_foreign(path, raw);
  if (text.size() < kBlockBytes) {
    throw InputError(
        fmt::format("{}: truncated: expected at least {} bytes, got {}", path, kBlockBytes, size));
  }
  return parse_block(text, path);
}

}  // namespace

bool is_golden_file(const std::string& path) {
  require_readable_file(path, "an HDF5 file");
  const RawFile raw(path, RawFile::Mode::read);
  const std::string schema = kSchema;
  std::string begin(schema.size(), '\0');
  if (raw.size() < begin.size()) return false;
  raw.read({0, begin.size()}, begin.data());
  return begin == schema;
}

std::string damaged(const std::string& where, const std::string& what, const std::string& expected,
                    const std::string& got) {
  return fmt::format("{}: {} does not match its hash: expected {}, got {}; generate the file again",
                     where, what, expected, got);
}

std::string not_there(const std::string& path, const std::string& dataset) {
  return fmt::format("{}: {}: declared in the manifest but missing; generate the file again", path,
                     dataset);
}

ChecksummedFile::ChecksummedFile(const std::string& path)
    : path_((require_readable_file(path, "an HDF5 file"), path)), raw_(path, RawFile::Mode::read) {
  check_checksums();
}

std::optional<std::size_t> ChecksummedFile::find(const std::string& dataset) const {
  const auto found = index_.find(dataset);
  if (found == index_.end()) return std::nullopt;
  return found->second;
}

// Steps 1 to 3 of manifest.h.
void ChecksummedFile::check_checksums() {
  const Block block = read_block(path_, raw_);
  const uint64_t size = raw_.size();
  std::string problem;
  if (size != block.file_bytes) {
    problem = fmt::format("{}: {}: expected {} bytes, got {}; copy or generate it again", path_,
                          size < block.file_bytes ? "truncated" : "trailing bytes",
                          block.file_bytes, size);
  }
  try {
    read_manifest(block);
  } catch (const InputError&) {
    if (problem.empty()) throw;
    throw InputError(problem);
  }
  if (problem.empty()) {
    std::vector<Extent> hashed_elsewhere = extents_;
    hashed_elsewhere.push_back(block.manifest);
    std::erase_if(hashed_elsewhere, [](const Extent& extent) { return extent.bytes == 0; });
    const std::string got = metadata_hash(raw_, size, std::move(hashed_elsewhere), path_);
    if (got != block.metadata_hash) problem = damaged(path_, "metadata", block.metadata_hash, got);
  }
  if (problem.empty()) return;
  const std::optional<std::string> missing = first_missing_of_altered();
  throw InputError(missing ? not_there(path_, *missing) : problem);
}

void ChecksummedFile::read_manifest(const Block& block) {
  const uint64_t size = raw_.size();
  if (block.manifest.offset > size || block.manifest.bytes > size - block.manifest.offset ||
      block.manifest.bytes % sizeof(ManifestRecord) != 0) {
    throw InputError(fmt::format(
        "{}: /manifest: expected records of {} bytes inside of the file, got {} bytes at byte {}",
        path_, sizeof(ManifestRecord), block.manifest.bytes, block.manifest.offset));
  }
  std::vector<ManifestRecord> records(block.manifest.bytes / sizeof(ManifestRecord));
  raw_.read(block.manifest, records.data());
  const std::string got = hash_hex(records.data(), block.manifest.bytes);
  if (got != block.manifest_hash) {
    throw InputError(damaged(path_ + ": /manifest", "data", block.manifest_hash, got));
  }
  for (const ManifestRecord& record : records) {
    rows_.push_back(from_record(record, path_));
    const ManifestRow& row = rows_.back();
    extents_.push_back(row.stored && record.offset >= 0
                           ? Extent{static_cast<uint64_t>(record.offset), raw_bytes(row)}
                           : Extent{});
    if (!index_.emplace(row.path, rows_.size() - 1).second) {
      throw InputError(fmt::format("{}: /manifest: {}: declared twice", path_, row.path));
    }
    if (row.stored && record.offset < 0 && record.bytes > 0) {
      throw InputError(fmt::format("{}: /manifest: {}: stored nowhere", path_, row.path));
    }
  }
}

std::optional<std::string> ChecksummedFile::first_missing(
    const std::vector<std::string>& present) const {
  for (const ManifestRow& row : rows_) {
    if (row.stored && !std::binary_search(present.begin(), present.end(), row.path)) {
      return row.path;
    }
  }
  return std::nullopt;
}

// The one look at metadata that is known to be altered, to tell a deleted dataset from damage. The
// library checks a checksum on each piece of metadata of the format that File::create asks for, and
// the version of the superblock, on which that rests, is checked here.
std::optional<std::string> ChecksummedFile::first_missing_of_altered() const {
  try {
    uint8_t superblock_version = 0;
    raw_.read({kBlockBytes + 8, 1}, &superblock_version);
    if (superblock_version != 2) return std::nullopt;
    const hdf5::File file = hdf5::File::open(path_);
    const auto missing = std::find_if(rows_.begin(), rows_.end(), [&](const ManifestRow& row) {
      return row.stored && file.lacks(row.path);
    });
    if (missing == rows_.end()) return std::nullopt;
    return missing->path;
  } catch (const InputError&) {
    return std::nullopt;
  }
}

void ChecksummedFile::check_hash(std::size_t row, const std::string& got) const {
  if (got == rows_[row].hash) return;
  throw InputError(damaged(path_ + ": " + rows_[row].path, "data", rows_[row].hash, got));
}

uint64_t ChecksummedFile::check_all() const {
  std::vector<std::string> problems(rows_.size());
  tbb::parallel_for(std::size_t{0}, rows_.size(), [&](std::size_t row) {
    if (!rows_[row].stored) return;
    thread_local std::vector<char> piece(kPiece);
    try {
      stream(row, [&](uint64_t) { return piece.data(); });
    } catch (const InputError& error) {
      problems[row] = error.what();
    }
  });
  uint64_t bytes = 0;
  for (std::size_t row = 0; row < rows_.size(); ++row) {  // the first in order of writing
    if (!problems[row].empty()) throw InputError(problems[row]);
    if (rows_[row].stored) bytes += extents_[row].bytes;
  }
  all_checked_ = true;
  return bytes;
}

void ChecksummedFile::read_floats(std::size_t row, std::span<double> out) const {
  const std::string where = path_ + ": " + rows_[row].path;
  const Element element = element_of(rows_[row].dtype);
  if (all_checked_) return read_elements(raw_, extents_[row].offset, element, out, where);
  if (element == Element::f64) {
    return stream(row, [&](uint64_t done) { return reinterpret_cast<char*>(out.data()) + done; });
  }
  std::vector<std::byte> stored(extents_[row].bytes);
  stream(row, [&](uint64_t done) { return reinterpret_cast<char*>(stored.data()) + done; });
  decode(element, stored.data(), out, where);
}

}  // namespace assay::golden
