#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "golden/element.h"
#include "golden/error.h"
#include "golden/files.h"
#include "golden/golden_file.h"
#include "golden/hdf5.h"
#include "golden/manifest.h"

namespace assay::golden {
namespace {

constexpr std::size_t kPiece = 1 << 19;  // bytes read and hashed at once: stays in the cache

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

std::string damaged(const std::string& where, const std::string& what, const std::string& expected,
                    const std::string& got) {
  return fmt::format("{}: {} does not match its hash: expected {}, got {}; generate the file again",
                     where, what, expected, got);
}

std::string not_there(const std::string& path, const std::string& dataset) {
  return fmt::format("{}: {}: declared in the manifest but missing; generate the file again", path,
                     dataset);
}

}  // namespace

struct GoldenReader::Impl {
  explicit Impl(const std::string& file_path)
      : path((require_readable_file(file_path, "an HDF5 file"), file_path)),
        raw(file_path, RawFile::Mode::read) {}

  std::string path;
  RawFile raw;
  Header header;
  std::string created, root_hash, config_hash;
  Capture capture = Capture::full;
  const WeightSource* source = nullptr;  // of weights, when somebody gave one
  std::string name_of_source;
  std::vector<ManifestRow> rows;
  std::vector<Extent> extents;  // of rows
  std::map<std::string, std::size_t> index;

  void check_file();
  void read_manifest(const Block& block);
  std::optional<std::string> first_missing(const std::vector<std::string>& present) const;
  std::optional<std::string> first_missing_of_altered() const;
  void read_header(const hdf5::File& file);
  void check_datasets(const hdf5::File& file) const;

  std::size_t row_of(const std::string& dataset) const;
  std::size_t row_of(const std::string& dataset, std::initializer_list<DType> expected) const;
  // Streams the raw data of a stored row through sink(piece, offset in the data) and checks its
  // hash.
  template <class Sink>
  void stream(std::size_t row, Sink&& sink) const;
  void read_raw(std::size_t row, void* out) const;
  void read_doubles(std::size_t row, std::span<double> out) const;
  void obtain_weight(const std::string& name, std::size_t row, std::span<double> out) const;
  const ManifestRow& tokens() const;
};

// Steps 1 to 3 of manifest.h.
void GoldenReader::Impl::check_file() {
  const Block block = read_block(path, raw);
  const uint64_t size = raw.size();
  std::string problem;
  if (size != block.file_bytes) {
    problem = fmt::format("{}: {}: expected {} bytes, got {}; copy or generate it again", path,
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
    std::vector<Extent> hashed_elsewhere = extents;
    hashed_elsewhere.push_back(block.manifest);
    std::erase_if(hashed_elsewhere, [](const Extent& extent) { return extent.bytes == 0; });
    const std::string got = metadata_hash(raw, size, std::move(hashed_elsewhere), path);
    if (got != block.metadata_hash) problem = damaged(path, "metadata", block.metadata_hash, got);
  }
  if (problem.empty()) return;
  const std::optional<std::string> missing = first_missing_of_altered();
  throw InputError(missing ? not_there(path, *missing) : problem);
}

void GoldenReader::Impl::read_manifest(const Block& block) {
  const uint64_t size = raw.size();
  if (block.manifest.offset > size || block.manifest.bytes > size - block.manifest.offset ||
      block.manifest.bytes % sizeof(ManifestRecord) != 0) {
    throw InputError(fmt::format(
        "{}: /manifest: expected records of {} bytes inside of the file, got {} bytes at byte {}",
        path, sizeof(ManifestRecord), block.manifest.bytes, block.manifest.offset));
  }
  std::vector<ManifestRecord> records(block.manifest.bytes / sizeof(ManifestRecord));
  raw.read(block.manifest, records.data());
  const std::string got = hash_hex(records.data(), block.manifest.bytes);
  if (got != block.manifest_hash) {
    throw InputError(damaged(path + ": /manifest", "data", block.manifest_hash, got));
  }
  for (const ManifestRecord& record : records) {
    rows.push_back(from_record(record, path));
    const ManifestRow& row = rows.back();
    extents.push_back(row.stored && record.offset >= 0
                          ? Extent{static_cast<uint64_t>(record.offset), raw_bytes(row)}
                          : Extent{});
    if (!index.emplace(row.path, rows.size() - 1).second) {
      throw InputError(fmt::format("{}: /manifest: {}: declared twice", path, row.path));
    }
    if (row.stored && record.offset < 0 && record.bytes > 0) {
      throw InputError(fmt::format("{}: /manifest: {}: stored nowhere", path, row.path));
    }
  }
}

std::optional<std::string> GoldenReader::Impl::first_missing(
    const std::vector<std::string>& present) const {
  for (const ManifestRow& row : rows) {
    if (row.stored && !std::binary_search(present.begin(), present.end(), row.path)) {
      return row.path;
    }
  }
  return std::nullopt;
}

// The one look at metadata that is known to be altered, to tell a deleted dataset from damage. The
// library checks a checksum on each piece of metadata of the format that File::create asks for, and
// the version of the superblock, on which that rests, is checked here.
std::optional<std::string> GoldenReader::Impl::first_missing_of_altered() const {
  try {
    uint8_t superblock_version = 0;
    raw.read({kBlockBytes + 8, 1}, &superblock_version);
    if (superblock_version != 2) return std::nullopt;
    const hdf5::File file = hdf5::File::open(path);
    const auto missing = std::find_if(rows.begin(), rows.end(), [&](const ManifestRow& row) {
      return row.stored && file.lacks(row.path);
    });
    if (missing == rows.end()) return std::nullopt;
    return missing->path;
  } catch (const InputError&) {
    return std::nullopt;
  }
}

void GoldenReader::Impl::read_header(const hdf5::File& file) {
  const std::string schema = file.has_attribute("schema") ? file.text_attribute("schema") : "none";
  if (schema != kSchema) {
    throw InputError(fmt::format("{}: foreign schema: expected {}, got {}", path, kSchema, schema));
  }
  const uint64_t version = file.integer_attribute("schema_version");
  if (version != kSchemaVersion) {
    throw InputError(fmt::format("{}: {} schema version: expected {}, got {}{}", path,
                                 version > kSchemaVersion ? "newer" : "unknown", kSchemaVersion,
                                 version, version > kSchemaVersion ? "; use a newer assay" : ""));
  }
  const std::string config = file.text_attribute("config");
  created = file.text_attribute("created");
  capture = parse_capture(file.text_attribute("capture"));
  config_hash = file.text_attribute("config_hash");
  root_hash = file.text_attribute("root_hash");
  header.seed = file.integer_attribute("seed");
  header.provenance = file.text_attribute("provenance");
  if (const auto got = hash_hex(config.data(), config.size()); got != config_hash) {
    throw InputError(damaged(path + ": attribute config", "text", config_hash, got));
  }
  if (const auto got = golden::root_hash(config, header.seed, rows); got != root_hash) {
    throw InputError(damaged(path + ": attribute root_hash", "content", root_hash, got));
  }
  header.config = parse_config(config, path + ": attribute config");
}

// HDF5's view of the file and the manifest's are the same.
void GoldenReader::Impl::check_datasets(const hdf5::File& file) const {
  const std::vector<std::string> present = file.datasets();
  if (const auto missing = first_missing(present)) throw InputError(not_there(path, *missing));
  for (const std::string& dataset : present) {
    if (dataset == "/manifest") continue;
    const auto found = index.find(dataset);
    if (found == index.end() || !rows[found->second].stored) {
      throw InputError(fmt::format("{}: {}: in the file but not in the manifest", path, dataset));
    }
    const ManifestRow& row = rows[found->second];
    const hdf5::DatasetInfo info = file.info(dataset);
    const uint64_t offset = info.offset < 0 ? 0 : static_cast<uint64_t>(info.offset);
    if (info.dtype != row.dtype || info.shape != row.shape ||
        offset != extents[found->second].offset) {
      throw InputError(fmt::format(
          "{}: {}: expected {} {} at byte {} as in the manifest, got {} {} "
          "at byte {}",
          path, dataset, dtype_name(row.dtype), shape_text(row.shape),
          extents[found->second].offset, dtype_name(info.dtype), shape_text(info.shape), offset));
    }
  }
}

std::size_t GoldenReader::Impl::row_of(const std::string& dataset) const {
  const auto found = index.find(dataset);
  if (found == index.end()) {
    throw InputError(fmt::format("{}: {}: no such dataset in the manifest", path, dataset));
  }
  return found->second;
}

std::size_t GoldenReader::Impl::row_of(const std::string& dataset,
                                       std::initializer_list<DType> expected) const {
  const std::size_t row = row_of(dataset);
  if (std::find(expected.begin(), expected.end(), rows[row].dtype) == expected.end()) {
    throw InputError(fmt::format("{}: {}: expected {} elements, got {}", path, dataset,
                                 dtype_name(*expected.begin()), dtype_name(rows[row].dtype)));
  }
  if (!rows[row].stored) {
    throw InputError(fmt::format(
        "{}: {}: only its hash is in the file, which was generated with --capture {}; generate it "
        "with --capture full",
        path, dataset, capture_name(capture)));
  }
  return row;
}

template <class Sink>
void GoldenReader::Impl::stream(std::size_t row, Sink&& sink) const {
  Hasher hasher;
  for (uint64_t done = 0; done < extents[row].bytes;) {
    const uint64_t bytes = std::min<uint64_t>(kPiece, extents[row].bytes - done);
    char* piece = sink(done);
    raw.read({extents[row].offset + done, bytes}, piece);
    hasher.add(piece, bytes);
    done += bytes;
  }
  if (const std::string got = hasher.hex(); got != rows[row].hash) {
    throw InputError(damaged(path + ": " + rows[row].path, "data", rows[row].hash, got));
  }
}

void GoldenReader::Impl::read_raw(std::size_t row, void* out) const {
  stream(row, [out](uint64_t done) { return static_cast<char*>(out) + done; });
}

void GoldenReader::Impl::read_doubles(std::size_t row, std::span<double> out) const {
  if (rows[row].dtype == DType::float64) return read_raw(row, out.data());
  std::vector<std::byte> stored(extents[row].bytes);
  read_raw(row, stored.data());
  decode(element_of(rows[row].dtype), stored.data(), out, path + ": " + rows[row].path);
}

// A weight from outside of the file, which counts only if its bytes are those of the manifest.
void GoldenReader::Impl::obtain_weight(const std::string& name, std::size_t row,
                                       std::span<double> out) const {
  if (source != nullptr) {
    source->read(name, out);
  } else {
    SyntheticWeights(header.config, header.seed).read(name, out);
  }
  const std::vector<float> floats = as_exact_floats(out);
  const bool exact = floats.size() == out.size();
  const std::string got = exact ? hash_hex(floats.data(), floats.size() * sizeof(float))
                                : hash_hex(out.data(), out.size_bytes());
  if (got == rows[row].hash) return;
  if (source != nullptr) {
    throw InputError(fmt::format(
        "{}: {}: was made with other weights than those of {}: expected hash {}, got {}", path,
        rows[row].path, name_of_source, rows[row].hash, got));
  }
  throw InputError(fmt::format(
      "{}: {}: weights are not in the file and the seed does not give them: expected {}, got {} "
      "for seed {}; give the checkpoint it was made from with --weights, or generate it with "
      "--capture full",
      path, rows[row].path, rows[row].hash, got, header.seed));
}

const ManifestRow& GoldenReader::Impl::tokens() const {
  const ManifestRow& row = rows[row_of("/inputs/tokens")];
  if (row.shape.size() == 2) return row;
  throw InputError(
      fmt::format("{}: {}: expected [B,T], got {}", path, row.path, shape_text(row.shape)));
}

GoldenReader::GoldenReader(const std::string& path) : impl_(std::make_unique<Impl>(path)) {
  impl_->check_file();
  const hdf5::File file = hdf5::File::open(path);
  impl_->read_header(file);
  impl_->check_datasets(file);
}

GoldenReader::~GoldenReader() = default;

const std::string& GoldenReader::path() const { return impl_->path; }
const Header& GoldenReader::header() const { return impl_->header; }
const std::string& GoldenReader::created() const { return impl_->created; }
const std::string& GoldenReader::root_hash() const { return impl_->root_hash; }
const std::string& GoldenReader::config_hash() const { return impl_->config_hash; }
Capture GoldenReader::capture() const { return impl_->capture; }
int64_t GoldenReader::batch() const { return impl_->tokens().shape[0]; }
int64_t GoldenReader::positions() const { return impl_->tokens().shape[1]; }
const std::vector<ManifestRow>& GoldenReader::manifest() const { return impl_->rows; }

const ManifestRow* GoldenReader::find(const std::string& path) const {
  const auto found = impl_->index.find(path);
  return found == impl_->index.end() ? nullptr : &impl_->rows[found->second];
}

Tensor GoldenReader::read_tensor(const std::string& path) const {
  const std::size_t row = impl_->row_of(path, {DType::float64, DType::float32, DType::bfloat16});
  const Shape& shape = impl_->rows[row].shape;
  Tensor tensor{shape, std::vector<double>(static_cast<std::size_t>(element_count(shape)))};
  impl_->read_doubles(row, tensor.values);
  return tensor;
}

std::vector<int32_t> GoldenReader::read_int32(const std::string& path) const {
  const std::size_t row = impl_->row_of(path, {DType::int32});
  std::vector<int32_t> values(static_cast<std::size_t>(element_count(impl_->rows[row].shape)));
  impl_->read_raw(row, values.data());
  return values;
}

std::vector<uint8_t> GoldenReader::read_uint8(const std::string& path) const {
  const std::size_t row = impl_->row_of(path, {DType::uint8});
  std::vector<uint8_t> values(static_cast<std::size_t>(element_count(impl_->rows[row].shape)));
  impl_->read_raw(row, values.data());
  return values;
}

void GoldenReader::read(const std::string& name, std::span<double> out) const {
  const std::string dataset = "/weights/" + name;
  const std::size_t declared = impl_->row_of(dataset);
  const Shape& shape = impl_->rows[declared].shape;
  if (element_count(shape) != static_cast<int64_t>(out.size())) {
    throw InputError(fmt::format("{}: {}: expected {} elements, got {} {}", impl_->path, dataset,
                                 out.size(), element_count(shape), shape_text(shape)));
  }
  if (impl_->source != nullptr || !impl_->rows[declared].stored) {
    return impl_->obtain_weight(name, declared, out);
  }
  const std::size_t row = impl_->row_of(dataset, {DType::float64, DType::float32, DType::bfloat16});
  impl_->read_doubles(row, out);
}

void GoldenReader::weights_from(const WeightSource& source, const std::string& name_of_source) {
  impl_->source = &source;
  impl_->name_of_source = name_of_source;
}

uint64_t GoldenReader::check_all() const {
  std::vector<std::string> problems(impl_->rows.size());
  tbb::parallel_for(std::size_t{0}, impl_->rows.size(), [&](std::size_t row) {
    if (!impl_->rows[row].stored) return;
    thread_local std::vector<char> piece(kPiece);
    try {
      impl_->stream(row, [&](uint64_t) { return piece.data(); });
    } catch (const InputError& error) {
      problems[row] = error.what();
    }
  });
  uint64_t bytes = 0;
  for (std::size_t row = 0; row < impl_->rows.size(); ++row) {  // the first in order of writing
    if (!problems[row].empty()) throw InputError(problems[row]);
    if (impl_->rows[row].stored) bytes += impl_->extents[row].bytes;
  }
  return bytes;
}

}  // namespace assay::golden
