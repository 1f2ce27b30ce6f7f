#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "golden/contract/error.h"
#include "golden/contract/strict_json.h"
#include "golden/exchange/safetensors.h"
#include "golden/file/files.h"
#include "golden/file/hasher.h"
#include "golden/file/raw_file.h"

namespace assay::golden {
namespace {

using nlohmann::json;

constexpr uint64_t kMostHeaderBytes = 100'000'000;
constexpr uint64_t kPiece = 1 << 20;  // bytes hashed at once
constexpr char kMetadata[] = "__metadata__";

// "F64, F32, .. or BOOL"
std::string safetensors_type_names() {
  std::vector<std::string> names = element_names();
  const std::string last = names.back();
  names.pop_back();
  return fmt::format("{} or {}", fmt::join(names, ", "), last);
}

// One entry of the header. Offsets stay relative to the data.
class EntryParser {
 public:
  EntryParser(const std::string& path, const std::string& name, const json& entry)
      : where_(fmt::format("{}: {}", path, printable(name))), entry_(entry) {}

  SafetensorsEntry parse(const std::string& name, uint64_t data_bytes, Reading reading) const {
    if (!entry_.is_object()) fail("a table with dtype, shape and data_offsets", entry_.type_name());
    for (const auto& [key, value] : entry_.items()) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") {
        fail("only dtype, shape and data_offsets", "'" + key + "'");
      }
    }
    SafetensorsEntry result{.name = name, .shape = shape()};
    try {
      result.element = element();
    } catch (const InputError& error) {
      if (reading == Reading::strict) throw;
      result.problem = error.what();
    }
    const auto [begin, end] = offsets();
    if (begin > end || end > data_bytes) {
      fail(fmt::format("data_offsets within the {} bytes of data, ascending", data_bytes),
           fmt::format("[{},{}]", begin, end));
    }
    const uint64_t due = result.problem.empty() ? bytes_of(result) : end - begin;
    if (end - begin != due) {
      fail(fmt::format("{} bytes for {} {}", due, element_name(result.element),
                       shape_text(result.shape)),
           fmt::format("data_offsets [{},{}], {} bytes", begin, end, end - begin));
    }
    result.offset = begin;
    result.bytes = due;
    return result;
  }

 private:
  const json& field(const char* key) const {
    if (!entry_.contains(key)) fail(fmt::format("a key '{}'", key), "none");
    return entry_[key];
  }

  Element element() const {
    const json& dtype = field("dtype");
    const auto found = dtype.is_string() ? element_named(dtype.get<std::string>()) : std::nullopt;
    if (!found) {
      const std::string got = short_text(dtype);
      throw InputError(fmt::format(
          "{}: expected dtype {}, got {}; {}save {} again", where_, safetensors_type_names(),
          printable(got),
          got.starts_with("\"F8") ? "8-bit floats are not read: convert the tensor to bfloat16 and "
                                  : "",
          got.starts_with("\"F8") ? "it" : "the file"));
    }
    return *found;
  }

  Shape shape() const {
    Shape result;
    for (const uint64_t extent : numbers("shape")) {
      if (extent > uint64_t{1} << 62) fail("extents below 2^62", std::to_string(extent));
      result.push_back(static_cast<int64_t>(extent));
    }
    return result;
  }

  std::pair<uint64_t, uint64_t> offsets() const {
    const std::vector<uint64_t> pair = numbers("data_offsets");
    if (pair.size() != 2) fail("data_offsets [begin,end]", fmt::format("{} numbers", pair.size()));
    return {pair[0], pair[1]};
  }

  std::vector<uint64_t> numbers(const char* key) const {
    const json& list = field(key);
    const auto whole = [](const json& x) { return x.is_number_unsigned(); };
    if (!list.is_array() || !std::all_of(list.begin(), list.end(), whole)) {
      fail(fmt::format("{} as a list of whole numbers >= 0", key), short_text(list));
    }
    return list.get<std::vector<uint64_t>>();
  }

  uint64_t bytes_of(const SafetensorsEntry& entry) const {
    uint64_t bytes = element_bytes(entry.element);
    for (const int64_t extent : entry.shape) {
      if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes) ||
          bytes > uint64_t{1} << 62) {
        fail("a shape of at most 2^62 bytes", shape_text(entry.shape));
      }
    }
    return bytes;
  }

  // Dumped with replacement, because the text may be anything.
  static std::string short_text(const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
  }

  [[noreturn]] void fail(const std::string& expected, const std::string& got) const {
    throw InputError(fmt::format("{}: expected {}, got {}; save the file again", where_, expected,
                                 printable(got)));
  }

  std::string where_;
  const json& entry_;
};

// Bytes of a file, mapped read-only while this lives.
class Mapping {
 public:
  Mapping(int descriptor, const Extent& extent, const std::string& path) {
    const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    const uint64_t before = extent.offset % page;
    bytes_ = extent.bytes + before;
    base_ = mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, descriptor,
                 static_cast<off_t>(extent.offset - before));
    if (base_ == MAP_FAILED) {
      throw InputError(fmt::format("{}: {} bytes at byte {} cannot be mapped: {}", path,
                                   extent.bytes, extent.offset, std::strerror(errno)));
    }
    madvise(base_, bytes_, MADV_SEQUENTIAL);
    data_ = static_cast<const std::byte*>(base_) + before;
  }
  ~Mapping() { munmap(base_, bytes_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  const std::byte* data() const { return data_; }

 private:
  void* base_;
  uint64_t bytes_;
  const std::byte* data_;
};

}  // namespace

struct SafetensorsReader::Impl {
  explicit Impl(const std::string& file_path)
      : path((require_readable_file(file_path, "a .safetensors file"), file_path)),
        file(file_path, RawFile::Mode::read),
        file_bytes(file.size()) {}

  std::string path;
  RawFile file;
  uint64_t file_bytes;
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::size_t> index;
  std::map<std::string, std::string> metadata;

  std::string read_header() const;
  void read_metadata(const json& header);
  void check_layout(uint64_t data_begin);
};

// The JSON text; its length is checked before anything of that size is made.
std::string SafetensorsReader::Impl::read_header() const {
  uint64_t length = 0;
  if (file_bytes < sizeof length) {
    throw InputError(
        fmt::format("{}: expected a .safetensors file: at least 8 bytes, got {}; save it again",
                    path, file_bytes));
  }
  file.read({0, sizeof length}, &length);
  if (length > kMostHeaderBytes) {
    throw InputError(
        fmt::format("{}: not a .safetensors file: expected a header of at most {} "
                    "bytes, got {}",
                    path, kMostHeaderBytes, length));
  }
  if (length > file_bytes - sizeof length) {
    throw InputError(
        fmt::format("{}: truncated: expected a header of {} bytes, got {}; copy or "
                    "save the file again",
                    path, length, file_bytes - sizeof length));
  }
  std::string text(length, '\0');
  file.read({sizeof length, length}, text.data());
  return text;
}

void SafetensorsReader::Impl::read_metadata(const json& header) {
  if (!header.contains(kMetadata)) return;
  const json& table = header[kMetadata];
  const auto text = [](const json& x) { return x.is_string(); };
  if (!table.is_object() || !std::all_of(table.begin(), table.end(), text)) {
    throw InputError(
        fmt::format("{}: {}: expected a table of texts, got something else; save the "
                    "file again",
                    path, kMetadata));
  }
  table.get_to(metadata);
}

// Sorts by place in the file and makes offsets those of the file.
void SafetensorsReader::Impl::check_layout(uint64_t data_begin) {
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  uint64_t at = 0;
  for (SafetensorsEntry& entry : entries) {
    if (entry.offset != at) {
      throw InputError(fmt::format(
          "{}: {}: expected data at offset {}, got {}: {}; save the file "
          "again",
          path, printable(entry.name), at, entry.offset,
          entry.offset < at ? "it overlaps another tensor" : "there is a hole in front of it"));
    }
    at += entry.bytes;
    entry.offset += data_begin;
    index[entry.name] = static_cast<std::size_t>(&entry - entries.data());
  }
  if (at != file_bytes - data_begin) {
    throw InputError(
        fmt::format("{}: expected {} bytes of data, got {}; copy or save the file "
                    "again",
                    path, at, file_bytes - data_begin));
  }
}

SafetensorsReader::SafetensorsReader(const std::string& path, Reading reading)
    : impl_(std::make_unique<Impl>(path)) {
  const std::string text = impl_->read_header();
  if (!text.starts_with('{')) {  // what a JSON parser skips there, the format forbids
    throw InputError(fmt::format("{}: header: expected '{{' first, got '{}'; save it again", path,
                                 printable(text.substr(0, 1))));
  }
  const json header = parse_strict_json(text, path + ": header", {.depth = 3, .in_list = 32});
  const uint64_t data_begin = sizeof(uint64_t) + text.size();
  impl_->read_metadata(header);
  for (const auto& [name, entry] : header.items()) {
    if (name == kMetadata) continue;
    impl_->entries.push_back(
        EntryParser(path, name, entry).parse(name, impl_->file_bytes - data_begin, reading));
  }
  impl_->check_layout(data_begin);
}

SafetensorsReader::~SafetensorsReader() = default;
SafetensorsReader::SafetensorsReader(SafetensorsReader&&) noexcept = default;

const std::string& SafetensorsReader::path() const { return impl_->path; }
const std::vector<SafetensorsEntry>& SafetensorsReader::entries() const { return impl_->entries; }

const SafetensorsEntry* SafetensorsReader::find(const std::string& name) const {
  const auto found = impl_->index.find(name);
  return found == impl_->index.end() ? nullptr : &impl_->entries[found->second];
}

std::string SafetensorsReader::metadata(const std::string& key) const {
  const auto found = impl_->metadata.find(key);
  return found == impl_->metadata.end() ? "" : found->second;
}

void SafetensorsReader::read(const SafetensorsEntry& entry, std::span<double> out,
                             uint64_t first) const {
  if (!entry.problem.empty()) throw InputError(entry.problem);
  const std::string where = fmt::format("{}: {}", impl_->path, printable(entry.name));
  const auto count = static_cast<uint64_t>(element_count(entry.shape));
  if (first > count || out.size() > count - first) {
    throw InputError(fmt::format("{}: expected elements {} .. {}, got {} {}", where, first,
                                 first + out.size(), count, shape_text(entry.shape)));
  }
  if (out.empty()) return;
  // Reading a mapping beyond the end of a file kills the process.
  if (const uint64_t bytes = impl_->file.size(); bytes != impl_->file_bytes) {
    throw InputError(
        fmt::format("{}: the file changed while it was read: expected {} bytes, got {}", where,
                    impl_->file_bytes, bytes));
  }
  const uint64_t size = element_bytes(entry.element);
  const Mapping mapping(impl_->file.descriptor(), {entry.offset + first * size, out.size() * size},
                        where);
  decode(entry.element, mapping.data(), out, where);
}

std::string SafetensorsReader::file_hash() const {
  Hasher hasher;
  std::vector<char> piece(kPiece);
  for (uint64_t at = 0; at < impl_->file_bytes;) {
    const uint64_t bytes = std::min<uint64_t>(kPiece, impl_->file_bytes - at);
    impl_->file.read({at, bytes}, piece.data());
    hasher.add(piece.data(), bytes);
    at += bytes;
  }
  return hasher.hex();
}

}  // namespace assay::golden
