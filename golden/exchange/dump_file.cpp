#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <new>
#include <stdexcept>
#include <string_view>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/exchange/dump_tokens.h"
#include "golden/exchange/npz.h"
#include "golden/exchange/safetensors.h"
#include "golden/file/checksummed_file.h"
#include "golden/file/files.h"
#include "golden/file/foreign_hdf5.h"
#include "golden/file/golden_file.h"
#include "golden/file/manifest.h"
#include "golden/file/raw_file.h"

namespace assay::golden {
namespace {

// "/candidate/layers/0/attn/q" and "/forward/layers/0/attn/q" are "layers/0/attn/q".
std::string name_of(const std::string& path) {
  for (const std::string prefix : {"/candidate/", "/forward/"}) {
    if (path.starts_with(prefix)) return path.substr(prefix.size());
  }
  return path.substr(1);
}

// What a golden file holds beside tensors and gradients: such a file is a dump, too.
bool is_part_of_a_golden_file(const std::string& path) {
  return path == "/manifest" || path.starts_with("/inputs/") || path.starts_with("/weights/");
}

// Files that are taken for HDF5 by their names, but are known to be something else.
void refuse_other_formats(const std::string& path) {
  require_readable_file(path, "an HDF5 file");
  struct Other {
    std::string_view start;
    const char* what;
  };
  static constexpr std::array<Other, 4> kOthers{{
      {"PK\x03\x04",
       "a zip archive: one of torch.save is to be saved with safetensors.torch.save_file, one of "
       "numpy.savez is to be named .npz"},
      {"\x80", "a Python pickle, as old torch.save writes it: use safetensors.torch.save_file"},
      {"\x93NUMPY", "one array of numpy: use numpy.savez with the tensors' names"},
      {"GGUF", "a GGUF file: use safetensors.torch.save_file"},
  }};
  std::string start(8, '\0');
  std::ifstream(path, std::ios::binary)
      .read(start.data(), static_cast<std::streamsize>(start.size()));
  for (const Other& other : kOthers) {
    if (!start.starts_with(other.start)) continue;
    throw InputError(fmt::format("{}: expected an HDF5 file, got {}", path, other.what));
  }
}

// "; what to do", of what the library says.
std::string advice_on(const std::string& message) {
  struct Row {
    const char* part;
    const char* advice;
  };
  static constexpr std::array<Row, 3> kRows{{
      {"already open for write",
       "; its writer has not closed it, or was killed: close it there, or 'h5clear -s' the file"},
      {"plugin",  // "can't open directory: .../plugins"
       "; the plugin that unpacks it is not installed: write the dataset without compression or "
       "with gzip"},
      {"unable to lock file", "; another program has it open: close it there"},
  }};
  for (const Row& row : kRows) {
    if (message.find(row.part) != std::string::npos) return row.advice;
  }
  return "";
}

template <class Call>
auto with_advice(Call&& call) {
  try {
    return call();
  } catch (const InputError& error) {
    throw InputError(error.what() + advice_on(error.what()));
  }
}

// A file of named tensors in one of the formats. Paths begin with "/", also where the format's own
// names do not.
class Format {
 public:
  virtual ~Format() = default;
  virtual std::vector<std::string> paths() const = 0;
  virtual DumpEntry describe(const std::string& path) const = 0;  // its name is not filled in
  virtual void read(const std::string& path, std::span<double> out) const = 0;
  virtual std::string attribute(const std::string& name) const = 0;  // "" if there is none
};

class Hdf5Format : public Format {
 public:
  Hdf5Format(const std::string& path, Reading reading)
      : file_((refuse_other_formats(path), path)), reading_(reading) {}

  std::vector<std::string> paths() const override {
    return with_advice([&] { return file_.datasets(); });
  }
  DumpEntry describe(const std::string& path) const override {
    try {
      const hdf5::DatasetInfo info = file_.info(path);
      return {"", info.dtype, info.shape, ""};
    } catch (const InputError& error) {
      if (reading_ == Reading::strict) throw;
      return {"", DType::float64, {}, error.what()};
    }
  }
  void read(const std::string& path, std::span<double> out) const override {
    with_advice([&] { file_.read(path, out); });
  }
  std::string attribute(const std::string& name) const override { return file_.attribute(name); }

 private:
  hdf5::ForeignFile file_;
  Reading reading_;
};

// A golden file that serves as a dump: it is as it was written, or refused, and needs no library.
class GoldenFormat : public Format {
 public:
  explicit GoldenFormat(const std::string& path) : reader_(path) { reader_.check_all(); }

  std::vector<std::string> paths() const override {
    std::vector<std::string> all;
    for (const ManifestRow& row : reader_.manifest()) {
      if (row.stored) all.push_back(row.path);
    }
    return all;
  }
  DumpEntry describe(const std::string& path) const override {
    const ManifestRow& row = *reader_.find(path);
    return {"", row.dtype, row.shape, ""};
  }
  void read(const std::string& path, std::span<double> out) const override {
    const DType dtype = reader_.find(path)->dtype;
    const auto widen = [&](const auto& values) {
      std::copy(values.begin(), values.end(), out.begin());
    };
    if (dtype == DType::int32) return widen(reader_.read_int32(path));
    if (dtype == DType::uint8) return widen(reader_.read_uint8(path));
    reader_.read_tensor(path, out);
  }
  std::string attribute(const std::string& name) const override {
    if (name == "seed") return std::to_string(reader_.header().seed);
    return name == "config_hash" ? reader_.config_hash() : "";
  }

 private:
  GoldenReader reader_;
};

class SafetensorsFormat : public Format {
 public:
  SafetensorsFormat(const std::string& path, Reading reading) : reader_(path, reading) {
    for (const SafetensorsEntry& entry : reader_.entries()) entries_["/" + entry.name] = &entry;
  }

  std::vector<std::string> paths() const override {
    std::vector<std::string> all;
    for (const SafetensorsEntry& entry : reader_.entries()) all.push_back("/" + entry.name);
    return all;
  }
  DumpEntry describe(const std::string& path) const override {
    const SafetensorsEntry& entry = *entries_.at(path);
    return {"", dtype_of(entry.element), entry.shape, entry.problem};
  }
  void read(const std::string& path, std::span<double> out) const override {
    reader_.read(*entries_.at(path), out);
  }
  std::string attribute(const std::string& name) const override { return reader_.metadata(name); }

 private:
  SafetensorsReader reader_;
  std::map<std::string, const SafetensorsEntry*> entries_;
};

class NpzFormat : public Format {
 public:
  NpzFormat(const std::string& path, Reading reading) : reader_(path, reading) {
    for (const NpzEntry& entry : reader_.entries()) entries_["/" + entry.name] = &entry;
  }

  std::vector<std::string> paths() const override {
    std::vector<std::string> all;
    for (const NpzEntry& entry : reader_.entries()) all.push_back("/" + entry.name);
    return all;
  }
  DumpEntry describe(const std::string& path) const override {
    const NpzEntry& entry = *entries_.at(path);
    return {"", dtype_of(entry.header.element), entry.header.shape, entry.problem};
  }
  void read(const std::string& path, std::span<double> out) const override {
    const std::vector<double> values = reader_.read(*entries_.at(path));
    std::copy(values.begin(), values.end(), out.begin());
  }
  std::string attribute(const std::string&) const override { return ""; }

 private:
  NpzReader reader_;
  std::map<std::string, const NpzEntry*> entries_;
};

// Where golden files have their checksums, in front of what HDF5 reads.
bool has_block_in_front(const std::string& path) {
  const RawFile file(path, RawFile::Mode::read);
  const std::string signature = "\x89HDF\r\n\x1a\n";
  std::string found(signature.size(), '\0');
  if (file.size() < kBlockBytes + found.size()) return false;
  file.read({kBlockBytes, found.size()}, found.data());
  return found == signature;
}

std::unique_ptr<Format> open_format(const std::string& path, Reading reading) {
  if (path.ends_with(".npz")) return std::make_unique<NpzFormat>(path, reading);
  if (path.ends_with(".safetensors")) return std::make_unique<SafetensorsFormat>(path, reading);
  if (is_golden_file(path)) return std::make_unique<GoldenFormat>(path);
  auto file = std::make_unique<Hdf5Format>(path, reading);
  if (has_block_in_front(path) && file->attribute("schema") == kSchema) {
    throw InputError(path + ": a golden file whose first " + std::to_string(kBlockBytes) +
                     " bytes are damaged; copy or generate it again");
  }
  return file;
}

}  // namespace

struct DumpReader::Impl {
  std::string path;
  std::unique_ptr<Format> format;
  std::vector<DumpEntry> entries;
  std::map<std::string, std::string> paths;  // of entries, by name
  std::vector<std::string> left_out;
};

DumpReader::DumpReader(const std::string& path, Reading reading)
    : impl_(new Impl{path, open_format(path, reading), {}, {}, {}}) {
  for (const std::string& dataset : impl_->format->paths()) {
    if (is_part_of_a_golden_file(dataset)) {
      impl_->left_out.push_back(one_line(dataset.substr(1)));
      continue;
    }
    const std::string name = name_of(dataset);
    if (one_line(name) != name) {
      throw InputError(fmt::format("{}: {}: a name with control characters; rename it", path,
                                   one_line(dataset)));
    }
    const auto [known, is_new] = impl_->paths.emplace(name, dataset);
    if (!is_new) {
      throw InputError(fmt::format("{}: {}: the same tensor also stands at {}; keep one of them",
                                   path, dataset, known->second));
    }
    impl_->entries.push_back(impl_->format->describe(dataset));
    impl_->entries.back().name = name;
  }
}

DumpReader::~DumpReader() = default;

const std::vector<DumpEntry>& DumpReader::entries() const { return impl_->entries; }
const std::vector<std::string>& DumpReader::left_out() const { return impl_->left_out; }
std::string DumpReader::config_hash() const { return impl_->format->attribute("config_hash"); }
std::string DumpReader::seed() const { return impl_->format->attribute("seed"); }

std::string DumpReader::attribute(const std::string& name) const {
  return impl_->format->attribute(name);
}

const DumpEntry& DumpReader::entry(const std::string& name) const {
  const auto found = std::find_if(impl_->entries.begin(), impl_->entries.end(),
                                  [&](const DumpEntry& entry) { return entry.name == name; });
  if (found != impl_->entries.end()) return *found;
  throw InputError(
      fmt::format("{}: {}: no such dataset, neither at the root nor below /candidate or /forward",
                  impl_->path, name));
}

static Tensor read_whole(const Format& format, const DumpEntry& found, const std::string& file,
                         const std::string& path) {
  if (!found.problem.empty()) throw InputError(found.problem);
  try {
    Tensor tensor{found.shape,
                  std::vector<double>(static_cast<std::size_t>(element_count(found.shape)))};
    format.read(path, tensor.values);
    return tensor;
  } catch (const std::bad_alloc&) {
    throw InputError(fmt::format("{}: {}: does not fit into memory", file, path));
  }
}

Tensor DumpReader::read(const std::string& name) const {
  const DumpEntry& found = entry(name);
  return read_whole(*impl_->format, found, impl_->path, impl_->paths.at(name));
}

void DumpReader::read(const std::string& name, std::span<double> out) const {
  const DumpEntry& found = entry(name);
  if (!found.problem.empty()) throw InputError(found.problem);
  ASSAY_CHECK(element_count(found.shape) == static_cast<int64_t>(out.size()), name);
  impl_->format->read(impl_->paths.at(name), out);
}

Tensor dump_tokens(const std::string& file) {
  static constexpr std::array<std::string_view, 4> kPaths{"/inputs/tokens", "/inputs/input_ids",
                                                          "/tokens", "/input_ids"};
  const std::unique_ptr<Format> format = open_format(file, Reading::lenient);
  for (const std::string& path : format->paths()) {
    if (std::find(kPaths.begin(), kPaths.end(), path) == kPaths.end()) continue;
    return read_whole(*format, format->describe(path), file, path);
  }
  return {};
}

struct DumpWriter::Impl {
  std::string path;
  hdf5::File file;
};

DumpWriter::DumpWriter(const std::string& path, const std::string& config_hash, uint64_t seed)
    : impl_(new Impl{path, hdf5::File::create(path, path, 0)}) {
  impl_->file.write_attribute("config_hash", config_hash);
  impl_->file.write_attribute("seed", seed);
}

DumpWriter::~DumpWriter() = default;

void DumpWriter::write(const std::string& name, const TensorView& values, DType dtype) {
  const std::string dataset = "/" + name;
  if (element_count(values.shape) != static_cast<int64_t>(values.values.size())) {
    throw InputError(fmt::format("{}: {}: expected {} elements for {}, got {}", impl_->path,
                                 dataset, element_count(values.shape), shape_text(values.shape),
                                 values.values.size()));
  }
  if (dtype == DType::float32) {
    const std::vector<float> floats(values.values.begin(), values.values.end());
    impl_->file.write(dataset, dtype, values.shape, floats.data());
    return;
  }
  ASSAY_CHECK(dtype == DType::float64, dtype_name(dtype));
  impl_->file.write(dataset, dtype, values.shape, values.values.data());
}

}  // namespace assay::golden
