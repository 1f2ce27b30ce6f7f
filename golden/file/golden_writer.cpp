#include <fmt/chrono.h>
#include <fmt/format.h>
#include <tbb/parallel_invoke.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <set>

#include "golden/contract/error.h"
#include "golden/file/files.h"
#include "golden/file/golden_file.h"
#include "golden/file/hasher.h"
#include "golden/file/hdf5.h"
#include "golden/file/hdf5_library.h"
#include "golden/file/manifest.h"

namespace assay::golden {
namespace {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

hdf5::Handle fixed_text(std::size_t bytes) {
  hdf5::Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), bytes);
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  return type;
}

// ManifestRecord in HDF5's terms.
hdf5::Handle manifest_type() {
  hdf5::enter_library();
  using R = ManifestRecord;
  hdf5::Handle type(H5Tcreate(H5T_COMPOUND, sizeof(R)), H5Tclose);
  const auto text = [&](const char* name, std::size_t offset, std::size_t bytes) {
    H5Tinsert(type.get(), name, offset, fixed_text(bytes).get());
  };
  const auto field = [&](const char* name, std::size_t offset, hid_t kind) {
    H5Tinsert(type.get(), name, offset, kind);
  };
  const hsize_t axes = kMostAxes;
  const hdf5::Handle shape(H5Tarray_create2(H5T_STD_I64LE, 1, &axes), H5Tclose);
  text("path", offsetof(R, path), sizeof(R::path));
  text("dtype", offsetof(R, dtype), sizeof(R::dtype));
  text("role", offsetof(R, role), sizeof(R::role));
  text("hash", offsetof(R, hash), sizeof(R::hash));
  field("rank", offsetof(R, rank), H5T_STD_I64LE);
  field("shape", offsetof(R, shape), shape.get());
  field("min", offsetof(R, min), H5T_IEEE_F64LE);
  field("max", offsetof(R, max), H5T_IEEE_F64LE);
  field("rms", offsetof(R, rms), H5T_IEEE_F64LE);
  field("zero_share", offsetof(R, zero_share), H5T_IEEE_F64LE);
  field("nonfinite", offsetof(R, nonfinite), H5T_STD_I64LE);
  field("stored", offsetof(R, stored), H5T_STD_I64LE);
  field("offset", offsetof(R, offset), H5T_STD_I64LE);
  field("bytes", offsetof(R, bytes), H5T_STD_I64LE);
  return type;
}

}  // namespace

Capture parse_capture(const std::string& text) {
  for (const Capture capture : {Capture::hash, Capture::stats, Capture::full}) {
    if (capture_name(capture) == text) return capture;
  }
  throw InputError(fmt::format("--capture {}: no such level; have hash, stats, full", text));
}

std::string capture_name(Capture capture) {
  switch (capture) {
    case Capture::hash:
      return "hash";
    case Capture::stats:
      return "stats";
    case Capture::full:
      return "full";
  }
  ASSAY_CHECK(false, fmt::format("capture {}", static_cast<int>(capture)));
}

struct GoldenWriter::Impl {
  Impl(const std::string& name, Header what, Capture level, bool force, uint64_t expected_bytes)
      : target(name, force, expected_bytes),
        path(name),
        header(std::move(what)),
        capture(level),
        file(hdf5::File::create(target.written(), name, kBlockBytes)) {}

  PartialFile target;
  std::string path;
  Header header;
  Capture capture;
  std::optional<hdf5::File> file;  // empty once finished
  std::vector<ManifestRow> rows;
  std::vector<int64_t> offsets;  // of rows
  std::set<std::string> paths;
  uint64_t bytes_written = 0;
  double write_seconds = 0;

  // `values` is what the statistics are of, `stored` what goes into the file.
  template <class S, class V>
  void add(const std::string& role, const std::string& dataset, DType dtype, const Shape& shape,
           std::span<const S> stored, std::span<const V> values);
  void check_new(const std::string& dataset, const Shape& shape, std::size_t count);
  void write_attributes(const std::string& root);
  void close_signed();
  void read_back(const std::string& root) const;
};

void GoldenWriter::Impl::check_new(const std::string& dataset, const Shape& shape,
                                   std::size_t count) {
  ASSAY_CHECK(file.has_value(), dataset + " written after finish()");
  if (dataset.back() == '/' || dataset.find("//") != std::string::npos) {
    throw InputError(fmt::format("{}: {}: expected a name, got an empty part", path, dataset));
  }
  if (element_count(shape) != static_cast<int64_t>(count)) {
    throw InputError(fmt::format("{}: {}: expected {} elements for {}, got {}", path, dataset,
                                 element_count(shape), shape_text(shape), count));
  }
  if (!paths.insert(dataset).second) {
    throw InputError(fmt::format("{}: {}: written twice", path, dataset));
  }
}

template <class S, class V>
void GoldenWriter::Impl::add(const std::string& role, const std::string& dataset, DType dtype,
                             const Shape& shape, std::span<const S> stored,
                             std::span<const V> values) {
  check_new(dataset, shape, stored.size());
  ManifestRow row;
  row.path = dataset;
  row.dtype = dtype;
  row.shape = shape;
  row.role = role;
  const bool measured = role == "forward" || role == "grad";
  row.stored =
      capture == Capture::full || !(measured || (role == "weight" && !header.store_weights));
  to_record(row, -1, path);  // rejects what has no room before anything is written
  int64_t offset = -1;
  // Isolated: while this waits, its thread must not pick up a task of whoever produces the tensors.
  tbb::this_task_arena::isolate([&] {
    tbb::parallel_invoke([&] { row.hash = hash_hex(stored.data(), stored.size_bytes()); },
                         [&] {
                           if (capture != Capture::hash) row.stats = statistics(values);
                         },
                         [&] {
                           if (!row.stored) return;
                           const Stopwatch watch;
                           offset = file->write(dataset, dtype, shape, stored.data());
                           write_seconds += watch.seconds();
                           bytes_written += stored.size_bytes();
                         });
  });
  rows.push_back(std::move(row));
  offsets.push_back(offset);
}

void GoldenWriter::Impl::write_attributes(const std::string& root) {
  const std::string config = to_json(header.config);
  file->write_attribute("schema", kSchema);
  file->write_attribute("schema_version", uint64_t{kSchemaVersion});
  file->write_attribute("created",
                        fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))));
  file->write_attribute("config", config);
  file->write_attribute("method", header.config.method);
  file->write_attribute("seed", header.seed);
  file->write_attribute("provenance", header.provenance);
  file->write_attribute("capture", capture_name(capture));
  file->write_attribute("config_hash", hash_hex(config.data(), config.size()));
  file->write_attribute("root_hash", root);
}

// Writes the manifest, closes the file as HDF5 and puts the block in front.
void GoldenWriter::Impl::close_signed() {
  std::vector<ManifestRecord> records;
  std::vector<Extent> extents;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    records.push_back(to_record(rows[i], offsets[i], path));
    if (offsets[i] >= 0) extents.push_back({static_cast<uint64_t>(offsets[i]), raw_bytes(rows[i])});
  }
  const int64_t offset = file->write("/manifest", manifest_type().get(),
                                     {static_cast<int64_t>(records.size())}, records.data());
  file->close();
  file.reset();

  Block block;
  block.manifest = {static_cast<uint64_t>(std::max<int64_t>(offset, 0)),
                    records.size() * sizeof(ManifestRecord)};
  block.manifest_hash = hash_hex(records.data(), block.manifest.bytes);
  if (block.manifest.bytes > 0) extents.push_back(block.manifest);
  RawFile raw(target.written(), RawFile::Mode::update);
  block.file_bytes = raw.size();
  block.metadata_hash = metadata_hash(raw, block.file_bytes, extents, path);
  raw.write(0, block_text(block));
  raw.sync();
  raw.close();
  bytes_written = block.file_bytes;
}

// The finished file as a reader finds it, every dataset checked. What the checksum covers is taken
// from the file, so a piece of metadata that never reached it would be checksummed as lost. Names
// are looked up one by one before they are listed: see hdf5::File::lacks.
void GoldenWriter::Impl::read_back(const std::string& root) const {
  try {
    {
      const hdf5::File written = hdf5::File::open(target.written());
      for (const ManifestRow& row : rows) {
        if (row.stored && written.lacks(row.path)) throw InputError(row.path + " is not in it");
      }
    }
    const GoldenReader reader(target.written());
    reader.check_all();
    if (reader.root_hash() != root) {
      throw InputError(fmt::format("root hash: expected {}, got {}", root, reader.root_hash()));
    }
  } catch (const InputError& error) {
    throw InputError(fmt::format(
        "{}: the file written is not as it was computed: {}; is the disk full or failing?", path,
        error.what()));
  }
}

GoldenWriter::GoldenWriter(const std::string& path, Header header, Capture capture, bool force,
                           uint64_t expected_bytes)
    : impl_(std::make_unique<Impl>(path, std::move(header), capture, force, expected_bytes)) {}

GoldenWriter::~GoldenWriter() = default;

void GoldenWriter::write_input(const std::string& name, const Shape& shape,
                               std::span<const int32_t> values) {
  impl_->add("input", "/inputs/" + name, DType::int32, shape, values, values);
}

void GoldenWriter::write_mask(const std::string& name, const Shape& shape,
                              std::span<const uint8_t> values) {
  impl_->add("input", "/inputs/" + name, DType::uint8, shape, values, values);
}

void GoldenWriter::write_weight(const std::string& name, const TensorView& values) {
  const std::string dataset = "/weights/" + name;
  const std::vector<float> floats = as_exact_floats(values.values);
  if (floats.size() == values.values.size()) {
    impl_->add("weight", dataset, DType::float32, values.shape, std::span<const float>(floats),
               values.values);
  } else {
    impl_->add("weight", dataset, DType::float64, values.shape, values.values, values.values);
  }
}

void GoldenWriter::write_forward(const std::string& name, const TensorView& values) {
  impl_->add("forward", "/forward/" + name, DType::float64, values.shape, values.values,
             values.values);
}

void GoldenWriter::write_grad(const std::string& name, const TensorView& values) {
  impl_->add("grad", "/grad/" + name, DType::float64, values.shape, values.values, values.values);
}

void GoldenWriter::write_bound(const std::string& name, double largest_error) {
  const std::span<const double> one(&largest_error, 1);
  impl_->add("bound", "/bound/" + name, DType::float64, {}, one, one);
}

void GoldenWriter::write_sigma_setup(const std::string& schedule, int runs, uint64_t seed) {
  const std::vector<int32_t> setup{runs, static_cast<int32_t>(seed)};
  impl_->add("sigma", fmt::format("/sigma/{}/setup", schedule), DType::int32, {2},
             std::span<const int32_t>(setup), std::span<const int32_t>(setup));
}

void GoldenWriter::write_sigma(const std::string& schedule, const std::string& name,
                               const TensorView& values) {
  const std::vector<float> floats(values.values.begin(), values.values.end());
  impl_->add("sigma", fmt::format("/sigma/{}/{}", schedule, name), DType::float32, values.shape,
             std::span<const float>(floats), values.values);
}

void GoldenWriter::write_dependence(const std::string& name, int64_t positions,
                                    std::span<const uint8_t> may_depend) {
  const std::string dataset = "/dependence/" + name;
  impl_->add("dependence", dataset, DType::uint8, {positions, positions}, may_depend, may_depend);
  impl_->file->write_attribute_of(dataset, "axes", kDependenceAxes);
  impl_->file->write_attribute_of(
      dataset, "meaning", "1: position t may depend on position s of tokens or attention_mask");
}

std::string GoldenWriter::finish() {
  ASSAY_CHECK(impl_->file.has_value(), impl_->path + " finished twice");
  const Stopwatch watch;
  std::string root = root_hash(to_json(impl_->header.config), impl_->header.seed, impl_->rows);
  impl_->write_attributes(root);
  impl_->close_signed();
  impl_->read_back(root);
  impl_->target.put_in_place();
  impl_->write_seconds += watch.seconds();
  return root;
}

uint64_t GoldenWriter::bytes_written() const { return impl_->bytes_written; }
double GoldenWriter::write_seconds() const { return impl_->write_seconds; }

}  // namespace assay::golden
