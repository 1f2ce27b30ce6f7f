#include "verify/training/readers/arrays.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "golden/contract/error.h"
#include "golden/exchange/npy.h"
#include "golden/file/files.h"
#include "golden/file/golden_file.h"
#include "golden/file/raw_file.h"
#include "verify/training/readers/records.h"

namespace assay::verify::training {
namespace {

constexpr int64_t kMostValues = int64_t{1} << 30;  // of an array

std::string first_bytes(const std::string& path) {
  std::string start(8, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return start;
}

bool is_wanted(const std::string& name) {
  return array_named(name).what != Array::none || column_named(name).quantity != Quantity::none;
}

}  // namespace

bool is_array_file(const std::string& path) {
  for (const char* ending : {".npz", ".npy", ".safetensors", ".h5", ".hdf5"}) {
    if (path.ends_with(ending)) return true;
  }
  const std::string start = first_bytes(path);
  return start.starts_with("\x89HDF") || start.starts_with("\x93NUMPY") ||
         start.starts_with("PK\x03\x04");
}

std::vector<NamedArray> read_arrays(const std::string& path) {
  if (path.ends_with(".npy") || first_bytes(path).starts_with("\x93NUMPY")) {
    return {{std::filesystem::path(path).stem().string(), golden::read_npy(path)}};
  }
  const golden::DumpReader reader(path, golden::Reading::lenient);
  std::vector<NamedArray> arrays;
  for (const golden::DumpEntry& entry : reader.entries()) {
    if (!is_wanted(entry.name)) continue;
    if (entry.problem.empty() && golden::element_count(entry.shape) > kMostValues) {
      throw InputError(fmt::format("{}: {}: expected at most {} values, got {}", path, entry.name,
                                   kMostValues, golden::shape_text(entry.shape)));
    }
    arrays.push_back({entry.name, reader.read(entry.name)});
  }
  return arrays;
}

std::optional<Curve> curve_in_arrays(const std::string& path, std::vector<NamedArray>& arrays,
                                     const std::string& val_name) {
  const auto is_of = [](const NamedArray& array, std::size_t length) {
    return array.tensor.shape.size() == 1 && array.tensor.values.size() == length &&
           column_named(array.name).quantity != Quantity::none;
  };
  std::size_t length = 0;
  for (const NamedArray& array : arrays) {
    if (array.tensor.shape.size() == 1 && column_named(array.name).quantity == Quantity::step) {
      length = array.tensor.values.size();
    }
  }
  const bool has_tokens = std::any_of(arrays.begin(), arrays.end(), [](const NamedArray& array) {
    const Array what = array_named(array.name).what;
    return what != Array::none && what != Array::losses;
  });
  for (const NamedArray& array : arrays) {  // without steps, as Keras's history
    const Quantity quantity = column_named(array.name).quantity;
    const bool loss = (quantity == Quantity::train || quantity == Quantity::val) &&
                      !plain_name(array.name).ends_with("losses");  // those are of tokens
    if (length == 0 && !has_tokens && loss && array.tensor.shape.size() == 1) {
      length = array.tensor.values.size();
    }
  }
  if (length == 0) return std::nullopt;
  std::vector<Record> records(length);
  bool has_loss = false;
  for (const NamedArray& array : arrays) {
    if (!is_of(array, length)) continue;
    const Quantity quantity = column_named(array.name).quantity;
    has_loss = has_loss || quantity == Quantity::train || quantity == Quantity::val ||
               quantity == Quantity::fresh;
    for (std::size_t i = 0; i < length; ++i) {
      records[i].values.emplace_back(array.name, array.tensor.values[i]);
    }
  }
  if (!has_loss) return std::nullopt;
  std::erase_if(arrays, [&](const NamedArray& array) { return is_of(array, length); });
  return curve_of({records, {}, val_name}, path, "arrays");
}

namespace {

// The place of an array in its set; nullptr for those that are handled apart.
std::optional<golden::Tensor>* place_of(SetArrays& set, Array what) {
  switch (what) {
    case Array::losses:
      return &set.losses;
    case Array::log_probs:
      return &set.log_probs;
    case Array::tokens:
      return &set.tokens;
    case Array::labels:
      return &set.labels;
    case Array::mask:
      return &set.mask;
    case Array::logits:
      return &set.logits;
    case Array::probability_sums:
      return &set.probability_sums;
    case Array::documents:
      return &set.documents;
    default:
      return &set.oracle;
  }
}

// An oracle as -log p, whatever it was called.
void make_losses(golden::Tensor& tensor, Array what) {
  const bool negative = std::all_of(tensor.values.begin(), tensor.values.end(),
                                    [](double value) { return !(value > 0); });
  if (what == Array::oracle_log_probs || (what == Array::oracle && negative)) {
    for (double& value : tensor.values) value = -value;
  }
}

}  // namespace

void sort_arrays(const std::string& path, std::vector<NamedArray> arrays, int set,
                 std::array<SetArrays, 3>& sets) {
  const int of_file = set >= 0 ? set : set_named(std::filesystem::path(path).stem().string());
  for (NamedArray& array : arrays) {
    const ArrayName name = array_named(array.name);
    if (name.what == Array::none) continue;
    if (name.set >= 0 && set >= 0 && name.set != set) continue;  // only that set was asked for
    const int own = name.set >= 0 ? name.set : of_file;
    if (own < 0) {
      throw InputError(fmt::format(
          "{}: {}: of which set? Name it train, val or fresh ({}/{}), or give the file with "
          "--train-losses, --val-losses or --fresh-losses",
          path, golden::printable(array.name), "fresh", golden::printable(array.name)));
    }
    SetArrays& target = sets[static_cast<std::size_t>(own)];
    target.path = path;
    const bool one_loss = name.what == Array::losses && array.tensor.shape.empty();
    if (name.what == Array::reported_loss || one_loss) {
      if (array.tensor.values.size() != 1) {
        throw InputError(fmt::format("{}: {}: expected one number, got {}", path,
                                     golden::printable(array.name),
                                     golden::shape_text(array.tensor.shape)));
      }
      target.reported_loss = array.tensor.values.front();
      continue;
    }
    make_losses(array.tensor, name.what);
    std::optional<golden::Tensor>* place = place_of(target, name.what);
    const bool same =
        *place && (*place)->shape == array.tensor.shape && (*place)->values == array.tensor.values;
    if (*place && !same) {
      throw InputError(fmt::format("{}: {}: the {} set has such an array already; keep one", path,
                                   golden::printable(array.name),
                                   kSetNames[static_cast<std::size_t>(own)]));
    }
    *place = std::move(array.tensor);
  }
}

}  // namespace assay::verify::training
