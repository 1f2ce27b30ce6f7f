#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <new>
#include <stdexcept>

#include "golden/error.h"
#include "golden/golden_file.h"
#include "golden/hdf5.h"

namespace assay::golden {
namespace {

// "/candidate/layers/0/attn/q" and "/forward/layers/0/attn/q" are "layers/0/attn/q".
std::string name_of(const std::string& path) {
  for (const std::string prefix : {"/candidate/", "/forward/"}) {
    if (path.starts_with(prefix)) return path.substr(prefix.size());
  }
  return path.substr(1);
}

// What a golden file holds beside the tensors of a forward pass: such a file is a dump, too.
bool is_part_of_a_golden_file(const std::string& path) {
  return path == "/manifest" || path.starts_with("/inputs/") || path.starts_with("/weights/") ||
         path.starts_with("/grad/");
}

}  // namespace

struct DumpReader::Impl {
  std::string path;
  hdf5::File file;
  std::vector<DumpEntry> entries;
  std::map<std::string, std::string> paths;  // of entries, by name
};

DumpReader::DumpReader(const std::string& path)
    : impl_(new Impl{path, hdf5::File::open(path), {}, {}}) {
  for (const std::string& dataset : impl_->file.datasets()) {
    if (is_part_of_a_golden_file(dataset)) continue;
    const std::string name = name_of(dataset);
    const auto [known, is_new] = impl_->paths.emplace(name, dataset);
    if (!is_new) {
      throw InputError(fmt::format("{}: {}: the same tensor also stands at {}; keep one of them",
                                   path, dataset, known->second));
    }
    const hdf5::DatasetInfo info = impl_->file.info(dataset);
    impl_->entries.push_back({name, info.dtype, info.shape});
  }
}

DumpReader::~DumpReader() = default;

const std::vector<DumpEntry>& DumpReader::entries() const { return impl_->entries; }

std::string DumpReader::config_hash() const {
  return impl_->file.has_attribute("config_hash") ? impl_->file.text_attribute("config_hash") : "";
}

std::string DumpReader::seed() const {
  return impl_->file.has_attribute("seed") ? std::to_string(impl_->file.integer_attribute("seed"))
                                           : "";
}

Tensor DumpReader::read(const std::string& name) const {
  const auto found = impl_->paths.find(name);
  if (found == impl_->paths.end()) {
    throw InputError(
        fmt::format("{}: {}: no such dataset, neither at the root nor below /candidate "
                    "or /forward",
                    impl_->path, name));
  }
  try {
    return impl_->file.read(found->second);
  } catch (const std::bad_alloc&) {
    throw InputError(fmt::format("{}: {}: does not fit into memory", impl_->path, found->second));
  }
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
