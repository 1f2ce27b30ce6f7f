#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <exception>
#include <set>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/file/hdf5.h"
#include "golden/file/hdf5_library.h"

namespace assay::golden::hdf5 {
namespace {

std::size_t exponent_bits(hid_t real) {
  std::size_t sign = 0, exponent = 0, bits = 0, mantissa = 0, mantissa_bits = 0;
  return H5Tget_fields(real, &sign, &exponent, &bits, &mantissa, &mantissa_bits) < 0 ? 0 : bits;
}

// Whether the dataset's bytes are `count` little-endian floats.
bool is_plain(hid_t dataset, hsize_t count) {
  const Handle type(H5Dget_type(dataset), H5Tclose);
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  const bool floats =
      H5Tequal(type.get(), H5T_IEEE_F64LE) > 0 || H5Tequal(type.get(), H5T_IEEE_F32LE) > 0;
  return floats && H5Pget_layout(creation.get()) == H5D_CONTIGUOUS &&
         H5Dget_storage_size(dataset) == count * H5Tget_size(type.get());
}

constexpr int kMostNested = 64;  // groups; names of tensors have about six parts

// The datasets of a file, and the first link that leaves it.
struct Listing {
  std::vector<std::string> datasets;
  std::string leaves;
  bool too_deep = false;
  std::exception_ptr problem;  // of a callback: no exception may cross the library
  std::set<haddr_t> groups;    // seen, for hard links can make a circle
};

// A group of it. H5Lvisit would take time with the cube of the depth.
struct Visit {
  Listing& listing;
  std::string prefix;  // "/layers/0"
  int depth;
};

herr_t collect_link(hid_t group, const char* name, const H5L_info_t* link, void* visit) noexcept;

herr_t collect(hid_t group, Visit visit) {
  return H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, nullptr, collect_link, &visit);
}

herr_t collect_one(hid_t group, const char* name, const H5L_info_t* link, const Visit& visit) {
  const auto& [listing, prefix, depth] = visit;
  const std::string path = prefix + "/" + name;
  if (link->type != H5L_TYPE_HARD) {
    if (link->type != H5L_TYPE_SOFT) {
      if (listing.leaves.empty()) listing.leaves = path;
      return 0;
    }
    // What it leads to is in this file: one with links into others is refused as a whole.
    H5O_info_t target;
    const bool there = H5Oexists_by_name(group, name, H5P_DEFAULT) > 0 &&
                       H5Oget_info_by_name2(group, name, &target, H5O_INFO_BASIC, H5P_DEFAULT) >= 0;
    if (there && target.type == H5O_TYPE_DATASET) listing.datasets.push_back(path);
    return 0;
  }
  H5O_info_t info;
  if (H5Oget_info_by_name2(group, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0) return -1;
  if (info.type == H5O_TYPE_DATASET) listing.datasets.push_back(path);
  if (info.type != H5O_TYPE_GROUP || !listing.groups.insert(info.addr).second) return 0;
  if (depth == kMostNested) {
    listing.too_deep = true;
    return 0;
  }
  const Handle inner(H5Gopen2(group, name, H5P_DEFAULT), H5Gclose);
  return inner ? collect(inner.get(), {listing, path, depth + 1}) : -1;
}

herr_t collect_link(hid_t group, const char* name, const H5L_info_t* link, void* visit) noexcept {
  Visit& here = *static_cast<Visit*>(visit);
  try {
    return collect_one(group, name, link, here);
  } catch (...) {
    here.listing.problem = std::current_exception();
    return -1;
  }
}

}  // namespace

std::vector<std::string> File::datasets() const {
  enter_library();
  Listing found;
  const bool listed = collect(file_.get(), {found, "", 0}) >= 0;
  if (found.problem) std::rethrow_exception(found.problem);
  if (!listed) fail(shown_, "", "its datasets cannot be listed");
  if (found.too_deep) {
    throw InputError(
        fmt::format("{}: expected groups nested at most {} deep, got more", shown_, kMostNested));
  }
  if (!found.leaves.empty()) {
    throw InputError(fmt::format(
        "{}: {}: a link into another file: expected tensors of this file; 'h5repack' or "
        "a copy of the data brings them in",
        shown_, printable(found.leaves)));
  }
  std::sort(found.datasets.begin(), found.datasets.end());
  return found.datasets;
}

bool File::lacks(const std::string& path) const {
  enter_library();
  for (auto slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const htri_t exists = H5Lexists(file_.get(), path.substr(0, slash).c_str(), H5P_DEFAULT);
    if (exists <= 0 || slash == std::string::npos) return exists == 0;
  }
}

Handle File::open_dataset(const std::string& path) const {
  enter_library();
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

// Data that lies in other files, or in other datasets of this one, is not read.
void File::refuse_elsewhere(hid_t dataset, const std::string& path) const {
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  const bool is_virtual = H5Pget_layout(creation.get()) == H5D_VIRTUAL;
  if (!is_virtual && H5Pget_external_count(creation.get()) <= 0) return;
  throw InputError(fmt::format(
      "{}: {}: {}: expected data in the dataset itself; 'h5repack' or a copy of it brings it in",
      shown_, printable(path), is_virtual ? "a virtual dataset" : "its data lies in another file"));
}

DatasetInfo File::info(const std::string& path) const {
  const Handle dataset = open_dataset(path);
  refuse_elsewhere(dataset.get(), path);
  const Handle space(H5Dget_space(dataset.get()), H5Sclose);
  if (H5Sget_simple_extent_type(space.get()) == H5S_NULL) {
    throw InputError(
        fmt::format("{}: {}: expected a tensor, got an empty dataspace", shown_, path));
  }
  std::vector<hsize_t> extents(std::max(0, H5Sget_simple_extent_ndims(space.get())));
  H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr);
  hsize_t count = 1;
  for (const hsize_t extent : extents) {
    if (extent != 0 && count > hsize_t{kMostElements} / extent) {
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
          .offset = in_one_piece ? static_cast<int64_t>(H5Dget_offset(dataset.get())) : -1,
          .plain = in_one_piece && is_plain(dataset.get(), count)};
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
