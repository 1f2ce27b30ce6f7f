#include "verify/training/readers/event_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "golden/contract/error.h"
#include "verify/training/readers/names.h"

namespace assay::verify::training {
namespace {

namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little);

// Graphs and pictures are in these files, too.
constexpr uint64_t kLargestFrame = uint64_t{1} << 31;

std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t rest = i;
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ ((rest & 1) != 0 ? 0x82f63b78U : 0U);
    table[i] = rest;
  }
  return table;
}

uint32_t masked_crc(std::string_view bytes) {
  static const std::array<uint32_t, 256> kTable = crc_table();
  uint32_t crc = 0xffffffffU;
  for (const char byte : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xffU] ^ (crc >> 8);
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

template <class T>
T read_as(std::string_view bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

// A protocol buffer, field by field. Throws InputError where it ends inside of one.
class Fields {
 public:
  Fields(std::string_view bytes, const std::string& where) : rest_(bytes), where_(where) {}

  bool next() {
    if (rest_.empty()) return false;
    const uint64_t key = varint();
    number_ = key >> 3;
    wire_ = static_cast<int>(key & 7);
    switch (wire_) {
      case 0:
        value_ = varint();
        return true;
      case 1:
        bytes_ = take(8);
        return true;
      case 2:
        bytes_ = take(varint());
        return true;
      case 5:
        bytes_ = take(4);
        return true;
      default:
        throw InputError(fmt::format("{}: expected an event, got wire type {}", where_, wire_));
    }
  }

  bool is(uint64_t number, int wire) const { return number_ == number && wire_ == wire; }
  std::string_view bytes() const { return bytes_; }
  uint64_t value() const { return value_; }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= static_cast<uint64_t>(byte & 0x7fU) << shift;
      if ((byte & 0x80U) == 0) return value;
    }
    throw InputError(where_ + ": expected an event, got a number of more than 64 bits");
  }

  std::string_view take(uint64_t count) {
    if (count > rest_.size()) throw InputError(where_ + ": its event ends inside of a field");
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_, bytes_;
  const std::string& where_;
  uint64_t number_ = 0, value_ = 0;
  int wire_ = 0;
};

// The double that was written, not its float: 2.1, not 2.0999999046. The shortest decimal that
// rounds to the same float.
double shortest(float value) {
  if (!std::isfinite(value)) return value;
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  double wide = 0;
  std::from_chars(text.data(), end, wide);
  return wide;
}

template <class T>
std::optional<double> only_number(std::string_view bytes) {
  if (bytes.size() != sizeof(T)) return std::nullopt;
  if constexpr (sizeof(T) == sizeof(float)) return shortest(read_as<float>(bytes));
  return read_as<double>(bytes);
}

// A TensorProto of one float or double.
std::optional<double> tensor_number(std::string_view tensor, const std::string& where) {
  constexpr uint64_t kFloat = 1, kDouble = 2;
  uint64_t type = 0;
  std::string_view content;
  std::optional<double> listed;
  for (Fields fields(tensor, where); fields.next();) {
    if (fields.is(1, 0)) type = fields.value();
    if (fields.is(4, 2)) content = fields.bytes();
    if (fields.is(5, 2) || fields.is(5, 5)) listed = only_number<float>(fields.bytes());
    if (fields.is(6, 2) || fields.is(6, 1)) listed = only_number<double>(fields.bytes());
  }
  if (type == kFloat && !content.empty()) return only_number<float>(content);
  if (type == kDouble && !content.empty()) return only_number<double>(content);
  return type == kFloat || type == kDouble ? listed : std::nullopt;
}

struct Scalar {
  std::string tag;
  std::optional<double> value;  // none: a picture, a histogram, a text
};

Scalar scalar_of(std::string_view value, const std::string& where) {
  Scalar scalar;
  for (Fields fields(value, where); fields.next();) {
    if (fields.is(1, 2)) scalar.tag = fields.bytes();
    if (fields.is(2, 5)) scalar.value = shortest(read_as<float>(fields.bytes()));
    if (fields.is(8, 2)) scalar.value = tensor_number(fields.bytes(), where);
  }
  return scalar;
}

using Points = std::vector<std::pair<int64_t, double>>;

class EventReader {
 public:
  // set: that its tags are of; "" where they say it themselves.
  void read(const std::string& path, const std::string& set) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw InputError(path + ": cannot be read");
    std::string head(12, '\0'), data, check(4, '\0');
    for (int64_t number = 0, offset = 0;; ++number) {
      const std::string where = fmt::format("{}: event {} at byte {}", path, number, offset);
      if (!filled(file, head)) return;
      const auto length = read_as<uint64_t>(head);
      const std::string_view bytes(head);
      if (masked_crc(bytes.substr(0, 8)) != read_as<uint32_t>(bytes.substr(8))) {
        throw InputError(where + (number == 0 ? ": expected an event file of TensorBoard, got "
                                                "another file"
                                              : ": the check sum of its length is wrong"));
      }
      if (length > kLargestFrame) throw InputError(where + ": it is too long to be one");
      data.resize(length);
      if (!filled(file, data) || !filled(file, check)) return;
      if (masked_crc(data) != read_as<uint32_t>(check)) {
        throw InputError(where + ": its check sum is wrong");
      }
      offset += static_cast<int64_t>(16 + length);
      take_event(data, set, where);
    }
  }

  Curve curve(const std::string& path, const std::string& val_name) const {
    if (series_.empty()) {
      const std::vector<std::string> tags(others_.begin(), others_.end());
      throw InputError(fmt::format(
          "{}: expected scalars of a loss in an event file of TensorBoard, got {}", path,
          tags.empty() ? "none" : golden::printable(fmt::to_string(fmt::join(tags, ", ")))));
    }
    Curve curve = curve_of({records(), {}, val_name}, path, "event file of TensorBoard");
    if (dropped_ > 0) {
      curve.notes.push_back(
          fmt::format("the run was resumed: {} values that it did again are left out", dropped_));
    }
    return curve;
  }

 private:
  std::vector<Record> records() const {
    std::map<int64_t, Record> by_step;
    for (const auto& [tag, points] : series_) {
      for (const auto& [step, value] : points) by_step[step].values.emplace_back(tag, value);
    }
    std::vector<Record> records;
    for (auto& [step, record] : by_step) {
      record.values.emplace_back("step", static_cast<double>(step));
      records.push_back(std::move(record));
    }
    return records;
  }

  static bool filled(std::ifstream& file, std::string& bytes) {
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return file.gcount() == static_cast<std::streamsize>(bytes.size());
  }

  void take_event(std::string_view event, const std::string& set, const std::string& where) {
    int64_t step = 0;
    std::vector<std::string_view> summaries;
    for (Fields fields(event, where); fields.next();) {
      if (fields.is(2, 0)) step = static_cast<int64_t>(fields.value());
      if (fields.is(5, 2)) summaries.push_back(fields.bytes());
    }
    for (const std::string_view summary : summaries) {
      for (Fields fields(summary, where); fields.next();) {
        if (!fields.is(1, 2)) continue;
        const Scalar scalar = scalar_of(fields.bytes(), where);
        const std::string tag = (set.empty() ? "" : set + "/") + scalar.tag;
        const Quantity quantity = column_named(tag).quantity;
        if (quantity == Quantity::none || quantity == Quantity::step || !scalar.value) {
          others_.insert(tag);
        } else {
          add(series_[tag], step, *scalar.value);
        }
      }
    }
  }

  void add(Points& points, int64_t step, double value) {
    for (; !points.empty() && points.back().first >= step; points.pop_back()) ++dropped_;
    points.emplace_back(step, value);
  }

  std::map<std::string, Points> series_;
  std::set<std::string> others_;
  int64_t dropped_ = 0;
};

std::vector<std::string> sorted_events(const fs::path& folder) {
  std::vector<std::string> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && is_event_file(entry.path().string())) {
      found.push_back(entry.path().string());
    }
  }
  std::sort(found.begin(), found.end());  // the name has the second
  return found;
}

// "train", "val", "fresh", or "" where its name speaks of none or of several.
std::string set_of_folder(const fs::path& folder) {
  const int set = set_named(folder.filename().string());
  return set < 0 ? "" : kSetNames[static_cast<std::size_t>(set)];
}

}  // namespace

bool is_event_file(const std::string& path) {
  return fs::path(path).filename().string().find(".tfevents.") != std::string::npos;
}

std::vector<std::string> event_files_in(const std::string& folder) {
  if (!fs::is_directory(folder)) return {};
  std::vector<std::string> found = sorted_events(folder);
  std::vector<std::string> runs;
  if (!found.empty()) runs.push_back(folder);
  std::set<fs::path> inner;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) inner.insert(entry.path());
  }
  for (const fs::path& path : inner) {
    const std::vector<std::string> more = sorted_events(path);
    if (more.empty()) continue;
    if (set_of_folder(path).empty()) runs.push_back(path.string());
    found.insert(found.end(), more.begin(), more.end());
  }
  if (runs.size() > 1) {
    throw InputError(
        fmt::format("{}: expected the event files of one run, got several runs: {}, {}"
                    "{}; name one of them",
                    folder, runs[0], runs[1], runs.size() > 2 ? ", .." : ""));
  }
  return found;
}

Curve read_event_curve(const std::string& path, const std::string& val_name) {
  EventReader reader;
  const std::vector<std::string> files = event_files_in(path);
  if (files.empty()) reader.read(path, "");
  for (const std::string& file : files) {
    const fs::path folder = fs::path(file).parent_path();
    reader.read(file, fs::equivalent(folder, path) ? "" : set_of_folder(folder));
  }
  return reader.curve(path, val_name);
}

}  // namespace assay::verify::training
