#include "golden/file/hdf5.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "golden/file/files.h"
#include "golden/file/hdf5_library.h"

namespace assay::golden::hdf5 {
namespace {

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
  enter_library();
  hbool_t safe = false;
  H5is_library_threadsafe(&safe);
  return safe;
}

File File::create(const std::string& path, const std::string& shown, uint64_t user_block) {
  enter_library();
  const Handle creation = timeless(H5P_FILE_CREATE);
  const Handle opening = property_list(H5P_FILE_ACCESS);
  H5Pset_userblock(creation.get(), user_block);
  H5Pset_libver_bounds(opening.get(), H5F_LIBVER_V18, H5F_LIBVER_V18);
  Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), opening.get()), H5Fclose);
  if (!file) fail(shown, "", "cannot be created");
  return {std::move(file), shown};
}

File File::open(const std::string& path) {
  enter_library();
  require_readable_file(path, "an HDF5 file");
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file) fail(path, "", "expected an HDF5 file, got one that cannot be opened as such");
  return {std::move(file), path};
}

void File::close() {
  enter_library();
  if (H5Fflush(file_.get(), H5F_SCOPE_LOCAL) < 0) fail(shown_, "", "cannot be written");
  if (!file_.reset()) fail(shown_, "", "cannot be closed");
}

void File::close_written(Handle& handle, const std::string& object) const {
  if (!handle.reset()) fail(shown_, object, "cannot be written");
}

void File::make_groups(const std::string& path) {
  for (auto slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const std::string group = path.substr(0, slash);
    if (groups_.contains(group)) continue;
    const Handle creation = timeless(H5P_GROUP_CREATE);
    Handle made(H5Gcreate2(file_.get(), group.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT),
                H5Gclose);
    if (!made) fail(shown_, path, fmt::format("the group {} cannot be made", group));
    close_written(made, group);
    groups_.insert(group);
  }
}

int64_t File::write(const std::string& path, hid_t type, const Shape& shape, const void* data) {
  enter_library();
  make_groups(path);
  const std::vector<hsize_t> extents(shape.begin(), shape.end());
  const Handle space(
      shape.empty() ? H5Screate(H5S_SCALAR)
                    : H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
      H5Sclose);
  const Handle creation = timeless(H5P_DATASET_CREATE);
  H5Pset_layout(creation.get(), H5D_CONTIGUOUS);
  H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);  // it is written in full at once
  Handle dataset(H5Dcreate2(file_.get(), path.c_str(), type, space.get(), H5P_DEFAULT,
                            creation.get(), H5P_DEFAULT),
                 H5Dclose);
  if (!dataset) fail(shown_, path, "cannot be created");
  if (element_count(shape) == 0) {
    close_written(dataset, path);
    return -1;
  }
  if (H5Dwrite(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0) {
    fail(shown_, path, "cannot be written");
  }
  const haddr_t offset = H5Dget_offset(dataset.get());
  ASSAY_CHECK(offset != HADDR_UNDEF, path);
  close_written(dataset, path);
  return static_cast<int64_t>(offset);
}

int64_t File::write(const std::string& path, DType dtype, const Shape& shape, const void* data) {
  return write(path, element_type(dtype), shape, data);
}

void File::put_text(hid_t object, const std::string& object_path, const std::string& name,
                    const std::string& text) {
  const Handle type = text_type(text.size());
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  Handle attribute(
      H5Acreate2(object, name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  if (!attribute || H5Awrite(attribute.get(), type.get(), text.c_str()) < 0) {
    fail(shown_, object_path + "attribute " + name, "cannot be written");
  }
  close_written(attribute, object_path + "attribute " + name);
}

void File::write_attribute(const std::string& name, const std::string& text) {
  enter_library();
  put_text(file_.get(), "", name, text);
}

void File::write_attribute_of(const std::string& dataset, const std::string& name,
                              const std::string& text) {
  Handle object = open_dataset(dataset);
  put_text(object.get(), dataset + ": ", name, text);
  close_written(object, dataset);
}

void File::write_attribute(const std::string& name, uint64_t value) {
  enter_library();
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  Handle attribute(
      H5Acreate2(file_.get(), name.c_str(), H5T_STD_U64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT),
      H5Aclose);
  if (!attribute || H5Awrite(attribute.get(), H5T_NATIVE_UINT64, &value) < 0) {
    fail(shown_, "attribute " + name, "cannot be written");
  }
  close_written(attribute, "attribute " + name);
}

bool File::has_attribute(const std::string& name) const {
  enter_library();
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
  enter_library();
  return text_of(file_.get(), "", name);
}

std::string File::text_attribute_of(const std::string& dataset, const std::string& name) const {
  const Handle object = open_dataset(dataset);
  return text_of(object.get(), dataset + ": ", name);
}

uint64_t File::integer_attribute(const std::string& name) const {
  enter_library();
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

}  // namespace assay::golden::hdf5
