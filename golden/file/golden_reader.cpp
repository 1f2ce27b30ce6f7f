#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "golden/file/checksummed_file.h"
#include "golden/file/element.h"
#include "golden/file/golden_file.h"
#include "golden/file/hasher.h"
#include "golden/file/hdf5.h"

namespace assay::golden {

struct GoldenReader::Impl {
  explicit Impl(const std::string& file_path) : checked(file_path) {}

  ChecksummedFile checked;
  const std::string& path = checked.path();
  const std::vector<ManifestRow>& rows = checked.rows();
  Header header;
  std::string created, root_hash, config_hash;
  Capture capture = Capture::full;
  const WeightSource* source = nullptr;  // of weights, when somebody gave one
  std::string name_of_source;

  void read_header(const hdf5::File& file);
  void check_datasets(const hdf5::File& file) const;
  void check_dependence(const ManifestRow& row, const hdf5::File& file) const;

  std::size_t row_of(const std::string& dataset) const;
  std::size_t row_of(const std::string& dataset, std::initializer_list<DType> expected) const;
  void read_raw(std::size_t row, void* out) const;
  void obtain_weight(const std::string& name, std::size_t row, std::span<double> out) const;
  const ManifestRow& tokens() const;
};

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
  if (const auto missing = checked.first_missing(present)) {
    throw InputError(not_there(path, *missing));
  }
  for (const std::string& dataset : present) {
    if (dataset == "/manifest") continue;
    const auto found = checked.find(dataset);
    if (!found || !rows[*found].stored) {
      throw InputError(fmt::format("{}: {}: in the file but not in the manifest", path, dataset));
    }
    const ManifestRow& row = rows[*found];
    const uint64_t expected_offset = checked.extent(*found).offset;
    const hdf5::DatasetInfo info = file.info(dataset);
    const uint64_t offset = info.offset < 0 ? 0 : static_cast<uint64_t>(info.offset);
    if (info.dtype != row.dtype || info.shape != row.shape || offset != expected_offset) {
      throw InputError(
          fmt::format("{}: {}: expected {} {} at byte {} as in the manifest, got {} {} "
                      "at byte {}",
                      path, dataset, dtype_name(row.dtype), shape_text(row.shape), expected_offset,
                      dtype_name(info.dtype), shape_text(info.shape), offset));
    }
    if (row.role == "dependence") check_dependence(row, file);
  }
}

void GoldenReader::Impl::check_dependence(const ManifestRow& row, const hdf5::File& file) const {
  const Shape& s = row.shape;
  const std::string axes = file.text_attribute_of(row.path, "axes");
  if (row.dtype == DType::uint8 && s.size() == 2 && s[0] == s[1] && axes == kDependenceAxes) return;
  throw InputError(fmt::format("{}: {}: expected uint8 [T,T] with axes {}, got {} {} with axes {}",
                               path, row.path, kDependenceAxes, dtype_name(row.dtype),
                               shape_text(s), axes));
}

std::size_t GoldenReader::Impl::row_of(const std::string& dataset) const {
  const auto found = checked.find(dataset);
  if (!found) {
    throw InputError(fmt::format("{}: {}: no such dataset in the manifest", path, dataset));
  }
  return *found;
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

void GoldenReader::Impl::read_raw(std::size_t row, void* out) const {
  checked.stream(row, [out](uint64_t done) { return static_cast<char*>(out) + done; });
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
  const auto found = impl_->checked.find(path);
  return found ? &impl_->rows[*found] : nullptr;
}

Tensor GoldenReader::read_tensor(const std::string& path) const {
  const std::size_t row = impl_->row_of(path, {DType::float64, DType::float32, DType::bfloat16});
  const Shape& shape = impl_->rows[row].shape;
  Tensor tensor{shape, std::vector<double>(static_cast<std::size_t>(element_count(shape)))};
  impl_->checked.read_floats(row, tensor.values);
  return tensor;
}

void GoldenReader::read_tensor(const std::string& path, std::span<double> out) const {
  const std::size_t row = impl_->row_of(path, {DType::float64, DType::float32, DType::bfloat16});
  ASSAY_CHECK(element_count(impl_->rows[row].shape) == static_cast<int64_t>(out.size()), path);
  impl_->checked.read_floats(row, out);
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
  impl_->checked.read_floats(row, out);
}

void GoldenReader::weights_from(const WeightSource& source, const std::string& name_of_source) {
  impl_->source = &source;
  impl_->name_of_source = name_of_source;
}

uint64_t GoldenReader::check_all() const { return impl_->checked.check_all(); }

}  // namespace assay::golden
