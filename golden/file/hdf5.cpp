#include "golden/file/hdf5.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "golden/contract/error.h"
#include "golden/file/files.h"

namespace assay::golden::hdf5 {
namespace {

// More elements than this is a damaged or hostile shape, not a tensor.
constexpr hsize_t kMostElements = hsize_t{1} << 40;

// The library keeps one error stack, and one switch for printing it, per thread. At the process's
// end it would close what is still open, and crash (1.10) on a file whose close failed on a full
// disk; all handles here close themselves, so it has nothing to do there.
void silence_library() {
  static const herr_t leaves_exit_alone = H5dont_atexit();
  (void)leaves_exit_alone;
  thread_local const herr_t silenced = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  (void)silenced;
}

herr_t keep_innermost(unsigned n, const H5E_error2_t* error, void* text) noexcept {
  if (n == 0 && error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
}

// What the library's error stack says at its deepest point; the system's words where it has them.
std::string library_cause() {
  std::string cause;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &cause);
  H5Eclear2(H5E_DEFAULT);
  const std::string marker = "error message = '";
  if (const auto begin = cause.find(marker); begin != std::string::npos) {
    cause = cause.substr(begin + marker.size());
    cause = cause.substr(0, cause.find('\''));
  }
  return cause.empty() ? "no cause given" : cause;
}

[[noreturn]] void fail(const std::string& file, const std::string& object,
                       const std::string& what) {
  const std::string where = object.empty() ? file : fmt::format("{}: {}", file, object);
  throw InputError(fmt::format("{}: {}: HDF5 says: {}", where, what, library_cause()));
}

hid_t element_type(DType dtype) {
  switch (dtype) {
    case DType::float64:
      return H5T_IEEE_F64LE;
    case DType::float32:
      return H5T_IEEE_F32LE;
    case DType::bfloat16:
      return H5T_STD_U16LE;
    case DType::int32:
      return H5T_STD_I32LE;
    case DType::uint8:
      return H5T_STD_U8LE;
    case DType::float16:
      break;
  }
  ASSAY_CHECK(false, fmt::format("dtype {}", static_cast<int>(dtype)));
}

Handle property_list(hid_t kind) { return {H5Pcreate(kind), H5Pclose}; }

// Times would make files of equal content differ.
Handle timeless(hid_t kind) {
  Handle list = property_list(kind);
  H5Pset_obj_track_times(list.get(), false);
  return list;
}

Handle text_type(std::size_t bytes) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), std::max<std::size_t>(bytes, 1));
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  return type;
}

std::size_t exponent_bits(hid_t real) {
  std::size_t sign = 0, exponent = 0, bits = 0, mantissa = 0, mantissa_bits = 0;
  return H5Tget_fields(real, &sign, &exponent, &bits, &mantissa, &mantissa_bits) < 0 ? 0 : bits;
}

herr_t collect_dataset(hid_t group, const char* name, const H5L_info_t* link,
                       void* found) noexcept {
  auto& names = *static_cast<std::vector<std::string>*>(found);
  if (link->type == H5L_TYPE_EXTERNAL) {  // info() refuses it by name
    names.push_back(std::string("/") + name);
    return 0;
  }
  if (link->type == H5L_TYPE_SOFT && H5Oexists_by_name(group, name, H5P_DEFAULT) <= 0) return 0;
  H5O_info_t info;
  if (H5Oget_info_by_name2(group, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0) return -1;
  if (info.type != H5O_TYPE_DATASET) return 0;
  names.push_back(std::string("/") + name);
  return 0;
}

}  // namespace

Handle& Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    reset();
    id_ = std::exchange(other.id_, -1);
    close_ = other.close_;
  }
  return *this;
}

bool Handle::reset() {
  const hid_t id = std::exchange(id_, -1);
  return id < 0 || close_(id) >= 0;
}

bool safe_from_threads() {
  hbool_t safe = false;
  H5is_library_threadsafe(&safe);
  return safe;
}

File File::create(const std::string& path, const std::string& shown, uint64_t user_block) {
  silence_library();
  const Handle creation = timeless(H5P_FILE_CREATE);
  const Handle opening = property_list(H5P_FILE_ACCESS);
  H5Pset_userblock(creation.get(), user_block);
  H5Pset_libver_bounds(opening.get(), H5F_LIBVER_V18, H5F_LIBVER_V18);
  Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), opening.get()), H5Fclose);
  if (!file) fail(shown, "", "cannot be created");
  return {std::move(file), shown};
}

File File::open(const std::string& path) {
  silence_library();
  require_readable_file(path, "an HDF5 file");
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file) fail(path, "", "expected an HDF5 file, got one that cannot be opened as such");
  return {std::move(file), path};
}

void File::close() {
  silence_library();
  if (!file_.reset()) fail(shown_, "", "cannot be closed");
}

void File::make_groups(const std::string& path) {
  for (auto slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string group = path.substr(0, slash);
    if (groups_.contains(group)) continue;
    const Handle creation = timeless(H5P_GROUP_CREATE);
    const Handle made(
        H5Gcreate2(file_.get(), group.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT), H5Gclose);
    if (!made) fail(shown_, path, fmt::format("the group {} cannot be made", group));
    groups_.insert(group);
  }
}

int64_t File::write(const std::string& path, hid_t type, const Shape& shape, const void* data) {
  silence_library();
  make_groups(path);
  const std::vector<hsize_t> extents(shape.begin(), shape.end());
  const Handle space(
      shape.empty() ? H5Screate(H5S_SCALAR)
                    : H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
      H5Sclose);
  const Handle creation = timeless(H5P_DATASET_CREATE);
  H5Pset_layout(creation.get(), H5D_CONTIGUOUS);
  H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);  // it is written in full at once
  const Handle dataset(H5Dcreate2(file_.get(), path.c_str(), type, space.get(), H5P_DEFAULT,
                                  creation.get(), H5P_DEFAULT),
                       H5Dclose);
  if (!dataset) fail(shown_, path, "cannot be created");
  if (element_count(shape) == 0) return -1;
  if (H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0) {
    fail(shown_, path, "cannot be written");
  }
  const haddr_t offset = H5Dget_offset(dataset.get());
  ASSAY_CHECK(offset != HADDR_UNDEF, path);
  return static_cast<int64_t>(offset);
}

int64_t File::write(const std::string& path, DType dtype, const Shape& shape, const void* data) {
  return write(path, element_type(dtype), shape, data);
}

void File::put_text(hid_t object, const std::string& object_path, const std::string& name,
                    const std::string& text) {
  const Handle type = text_type(text.size());
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(
      H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  if (!attribute || H5Awrite(attribute.get(), type.get(), text.c_str()) < 0) {
    fail(shown_, object_path + "attribute " + name, "cannot be written");
  }
}

void File::write_attribute(const std::string& name, const std::string& text) {
  silence_library();
  put_text(file_.get(), "", name, text);
}

void File::write_attribute_of(const std::string& dataset, const std::string& name,
                              const std::string& text) {
  const Handle object = open_dataset(dataset);
  put_text(object.get(), dataset + ": ", name, text);
}

void File::write_attribute(const std::string& name, uint64_t value) {
  silence_library();
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(
      H5Acreate2(file_.get(), name.c_str(), H5T_STD_U64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  if (!attribute || H5Awrite(attribute.get(), H5T_NATIVE_UINT64, &value) < 0) {
    fail(shown_, "attribute " + name, "cannot be written");
  }
}

bool File::has_attribute(const std::string& name) const {
  silence_library();
  return H5Aexists(file_.get(), name.c_str()) > 0;
}

std::string File::text_of(hid_t object, const std::string& object_path,
                          const std::string& name) const {
  const Handle attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), H5Aclose);
  if (!attribute) fail(shown_, object_path + "attribute " + name, "cannot be opened");
  const Handle type(H5Aget_type(attribute.get()), H5Tclose);
  const Handle space(H5Aget_space(attribute.get()), H5Sclose);
  if (H5Tget_class(type.get()) != H5T_STRING || H5Sget_simple_extent_npoints(space.get()) != 1) {
    throw InputError(
        fmt::format("{}: {}attribute {}: expected one string", shown_, object_path, name));
  }
  if (H5Tis_variable_str(type.get()) > 0) {  // as h5py writes them
    const Handle memory(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(memory.get(), H5T_VARIABLE);
    H5Tset_cset(memory.get(), H5Tget_cset(type.get()));
    char* value = nullptr;
    if (H5Aread(attribute.get(), memory.get(), &value) < 0) {
      fail(shown_, object_path + "attribute " + name, "cannot be read");
    }
    std::string text = value == nullptr ? "" : value;
    H5free_memory(value);
    return text;
  }
  std::string text(H5Tget_size(type.get()), '\0');
  if (H5Aread(attribute.get(), type.get(), text.data()) < 0) {
    fail(shown_, object_path + "attribute " + name, "cannot be read");
  }
  return text.substr(0, text.find('\0'));
}

std::string File::text_attribute(const std::string& name) const {
  silence_library();
  return text_of(file_.get(), "", name);
}

std::string File::text_attribute_of(const std::string& dataset, const std::string& name) const {
  const Handle object = open_dataset(dataset);
  return text_of(object.get(), dataset + ": ", name);
}

uint64_t File::integer_attribute(const std::string& name) const {
  silence_library();
  const Handle attribute(H5Aopen(file_.get(), name.c_str(), H5P_DEFAULT), H5Aclose);
  if (!attribute) fail(shown_, "attribute " + name, "cannot be opened");
  const Handle type(H5Aget_type(attribute.get()), H5Tclose);
  const Handle space(H5Aget_space(attribute.get()), H5Sclose);
  if (H5Tget_class(type.get()) == H5T_STRING) {
    throw InputError(
        fmt::format("{}: attribute {}: expected an integer, got a string", shown_, name));
  }
  uint64_t value = 0;
  if (H5Sget_simple_extent_npoints(space.get()) != 1 ||
      H5Aread(attribute.get(), H5T_NATIVE_UINT64, &value) < 0) {
    fail(shown_, "attribute " + name, "expected one integer");
  }
  return value;
}

std::vector<std::string> File::datasets() const {
  silence_library();
  std::vector<std::string> found;
  if (H5Lvisit(file_.get(), H5_INDEX_NAME, H5_ITER_INC, collect_dataset, &found) < 0) {
    fail(shown_, "", "its datasets cannot be listed");
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool File::lacks(const std::string& path) const {
  silence_library();
  for (auto slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const htri_t exists = H5Lexists(file_.get(), path.substr(0, slash).c_str(), H5P_DEFAULT);
    if (exists <= 0 || slash == std::string::npos) return exists == 0;
  }
}

Handle File::open_dataset(const std::string& path) const {
  silence_library();
  H5L_info_t link;
  if (H5Lget_info(file_.get(), path.c_str(), &link, H5P_DEFAULT) >= 0 &&
      link.type == H5L_TYPE_EXTERNAL) {
    throw InputError(fmt::format(
        "{}: {}: a link to another file, which is not followed; copy the data into this file",
        shown_, path));
  }
  Handle dataset(H5Dopen2(file_.get(), path.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset) fail(shown_, path, "cannot be opened");
  return dataset;
}

DType File::stored_dtype(hid_t dataset, const std::string& path) const {
  const Handle type(H5Dget_type(dataset), H5Tclose);
  const std::size_t bytes = H5Tget_size(type.get());
  const H5T_class_t kind = H5Tget_class(type.get());
  if (kind == H5T_FLOAT) {
    if (bytes == 8) return DType::float64;
    if (bytes == 4) return DType::float32;
    if (bytes == 2 && exponent_bits(type.get()) == 8) return DType::bfloat16;
    if (bytes == 2 && exponent_bits(type.get()) == 5) return DType::float16;
  }
  if (kind == H5T_INTEGER) {
    if (bytes == 2 && H5Aexists(dataset, "dtype") > 0) {
      const std::string said = text_of(dataset, path + ": ", "dtype");
      if (said == "bfloat16") return DType::bfloat16;
      throw InputError(
          fmt::format("{}: {}: attribute dtype: expected bfloat16 for elements of 2 bytes, got {}",
                      shown_, path, said));
    }
    return bytes == 1 && H5Tget_sign(type.get()) == H5T_SGN_NONE ? DType::uint8 : DType::int32;
  }
  throw InputError(fmt::format(
      "{}: {}: expected elements that are floats, integers or bfloat16 (as uint16 with attribute "
      "dtype = \"bfloat16\"), got another HDF5 type",
      shown_, path));
}

DatasetInfo File::info(const std::string& path) const {
  const Handle dataset = open_dataset(path);
  const Handle space(H5Dget_space(dataset.get()), H5Sclose);
  if (H5Sget_simple_extent_type(space.get()) == H5S_NULL) {
    throw InputError(
        fmt::format("{}: {}: expected a tensor, got an empty dataspace", shown_, path));
  }
  std::vector<hsize_t> extents(std::max(0, H5Sget_simple_extent_ndims(space.get())));
  H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr);
  hsize_t count = 1;
  for (const hsize_t extent : extents) {
    if (extent != 0 && count > kMostElements / extent) {
      throw InputError(
          fmt::format("{}: {}: expected at most 2^40 elements, got more", shown_, path));
    }
    count *= extent;
  }
  // Without data the library gives HADDR_UNDEF plus the size of the user block.
  const bool in_one_piece = count > 0 && H5Dget_storage_size(dataset.get()) > 0 &&
                            H5Dget_offset(dataset.get()) != HADDR_UNDEF;
  return {.dtype = stored_dtype(dataset.get(), path),
          .shape = Shape(extents.begin(), extents.end()),
          .offset = in_one_piece ? static_cast<int64_t>(H5Dget_offset(dataset.get())) : -1};
}

Tensor File::read(const std::string& path) const {
  const DatasetInfo description = info(path);
  const Handle dataset = open_dataset(path);
  const Handle type(H5Dget_type(dataset.get()), H5Tclose);
  Tensor tensor{description.shape, std::vector<double>(element_count(description.shape))};
  const auto read_as = [&](hid_t memory_type, void* out) {
    if (H5Dread(dataset.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0) {
      fail(shown_, path, "cannot be read");
    }
  };
  if (tensor.values.empty()) return tensor;
  if (description.dtype == DType::bfloat16 && H5Tget_class(type.get()) == H5T_INTEGER) {
    std::vector<uint16_t> bits(tensor.values.size());
    read_as(H5T_NATIVE_UINT16, bits.data());
    std::transform(bits.begin(), bits.end(), tensor.values.begin(), [](uint16_t b) {
      return static_cast<double>(std::bit_cast<float>(uint32_t{b} << 16));
    });
  } else {
    read_as(H5T_NATIVE_DOUBLE, tensor.values.data());
  }
  return tensor;
}

}  // namespace assay::golden::hdf5
