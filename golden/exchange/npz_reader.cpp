#include <fmt/format.h>
#include <zip.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "golden/contract/error.h"
#include "golden/exchange/npz.h"
#include "golden/file/files.h"

namespace assay::golden {
namespace {

// A deflated byte stands for at most 1032 bytes: 258 for two bits (RFC 1951).
constexpr uint64_t kMostInflation = 1032;
constexpr uint64_t kSlack = 1024;  // of an empty or nearly empty member

struct CloseArchive {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
struct CloseMember {
  void operator()(zip_file_t* member) const { zip_fclose(member); }
};
using Archive = std::unique_ptr<zip_t, CloseArchive>;
using Member = std::unique_ptr<zip_file_t, CloseMember>;

Archive open_archive(const std::string& path) {
  require_readable_file(path, "an .npz file");
  int code = 0;
  Archive archive(zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code));
  if (archive == nullptr) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string cause = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw InputError(
        fmt::format("{}: expected an .npz file, got no whole zip archive: {}", path, cause));
  }
  return archive;
}

// Reads exactly that many bytes.
void read_exactly(zip_file_t* member, void* out, uint64_t bytes, const std::string& where) {
  auto* at = static_cast<char*>(out);
  while (bytes > 0) {
    const zip_int64_t got = zip_fread(member, at, bytes);
    if (got <= 0) {
      throw InputError(fmt::format("{}: cannot be read: {}; save it again", where,
                                   got == 0 ? "it ends too early" : zip_file_strerror(member)));
    }
    at += got;
    bytes -= static_cast<uint64_t>(got);
  }
}

// Only at the end of its data does a member's CRC show.
void check_end(zip_file_t* member, const std::string& where) {
  char more = 0;
  const zip_int64_t got = zip_fread(member, &more, 1);
  if (got == 0) return;
  throw InputError(fmt::format("{}: cannot be read: {}; save it again", where,
                               got > 0 ? "it goes on after its end" : zip_file_strerror(member)));
}

// The same elements with the last axis fastest.
std::vector<double> row_major(const std::vector<double>& values, const Shape& shape) {
  std::vector<std::size_t> stride(shape.size(), 1), index(shape.size(), 0);
  for (std::size_t axis = shape.size(); axis-- > 1;) {
    stride[axis - 1] = stride[axis] * static_cast<std::size_t>(shape[axis]);
  }
  std::vector<double> out(values.size());
  std::size_t at = 0;  // in `out`, of the element that `index` names
  for (const double value : values) {
    out[at] = value;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {  // the first axis is fastest
      at += stride[axis];
      if (++index[axis] < static_cast<std::size_t>(shape[axis])) break;
      at -= stride[axis] * index[axis];
      index[axis] = 0;
    }
  }
  return out;
}

}  // namespace

struct NpzReader::Impl {
  explicit Impl(const std::string& file_path)
      : path(file_path),
        archive(open_archive(file_path)),
        file_bytes(std::filesystem::file_size(file_path)) {}

  std::string path;
  Archive archive;
  uint64_t file_bytes;
  std::vector<NpzEntry> entries;

  Member open(uint64_t number, const std::string& where) const;
  void check_sizes(const zip_stat_t& status, const std::string& where) const;
  NpzEntry read_entry(uint64_t number, Reading reading) const;
  void read_header(NpzEntry& entry, const zip_stat_t& status, const std::string& where) const;
};

Member NpzReader::Impl::open(uint64_t number, const std::string& where) const {
  Member member(zip_fopen_index(archive.get(), number, 0));
  if (member == nullptr) {
    throw InputError(fmt::format("{}: cannot be opened: {}", where,
                                 zip_error_strerror(zip_get_error(archive.get()))));
  }
  return member;
}

void NpzReader::Impl::check_sizes(const zip_stat_t& status, const std::string& where) const {
  constexpr zip_uint64_t kNeeded =
      ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  const bool known = (status.valid & kNeeded) == kNeeded;
  if (!known || status.encryption_method != ZIP_EM_NONE ||
      (status.comp_method != ZIP_CM_STORE && status.comp_method != ZIP_CM_DEFLATE)) {
    throw InputError(
        fmt::format("{}: expected a stored or deflated array, got another kind of "
                    "member; save it with numpy.savez",
                    where));
  }
  const bool stored = status.comp_method == ZIP_CM_STORE;
  if (status.comp_size > file_bytes || (stored && status.size != status.comp_size) ||
      status.size > kMostInflation * status.comp_size + kSlack) {
    throw InputError(
        fmt::format("{}: {} bytes cannot come out of {} in a file of {}; save it again", where,
                    status.size, status.comp_size, file_bytes));
  }
}

NpzEntry NpzReader::Impl::read_entry(uint64_t number, Reading reading) const {
  zip_stat_t status;
  if (zip_stat_index(archive.get(), number, 0, &status) != 0 || status.name == nullptr) {
    throw InputError(fmt::format("{}: member {}: {}", path, number,
                                 zip_error_strerror(zip_get_error(archive.get()))));
  }
  NpzEntry entry{.name = status.name, .member = number};
  const std::string where = fmt::format("{}: {}", path, printable(entry.name));
  try {
    if (!entry.name.ends_with(".npy")) {
      throw InputError(fmt::format("{}: expected members that end in .npy", where));
    }
    entry.name.resize(entry.name.size() - 4);
    read_header(entry, status, where);
  } catch (const InputError& error) {
    if (reading == Reading::strict) throw;
    entry.problem = error.what();
  }
  return entry;
}

void NpzReader::Impl::read_header(NpzEntry& entry, const zip_stat_t& status,
                                  const std::string& where) const {
  check_sizes(status, where);
  const Member member = open(entry.member, where);
  std::string header(kNpyPreamble + 2, '\0');
  read_exactly(member.get(), header.data(), header.size(), where);
  const std::size_t bytes = npy_header_bytes(header, where), start = header.size();
  header.resize(bytes);
  if (bytes > start) read_exactly(member.get(), header.data() + start, bytes - start, where);
  entry.header = parse_npy_header(header, where);
  entry.header_bytes = bytes;
  const uint64_t due = bytes + static_cast<uint64_t>(element_count(entry.header.shape)) *
                                   element_bytes(entry.header.element);
  if (due != status.size) {
    throw InputError(fmt::format("{}: expected {} bytes for {} {}, got {}; save it again", where,
                                 due, element_name(entry.header.element),
                                 shape_text(entry.header.shape), status.size));
  }
}

NpzReader::NpzReader(const std::string& path, Reading reading)
    : impl_(std::make_unique<Impl>(path)) {
  std::set<std::string> names;
  const zip_int64_t count = zip_get_num_entries(impl_->archive.get(), 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    impl_->entries.push_back(impl_->read_entry(static_cast<uint64_t>(i), reading));
    const std::string& name = impl_->entries.back().name;
    if (!names.insert(name).second) {
      throw InputError(
          fmt::format("{}: {}: expected each name once, got it twice", path, printable(name)));
    }
  }
}

NpzReader::~NpzReader() = default;
NpzReader::NpzReader(NpzReader&&) noexcept = default;

const std::vector<NpzEntry>& NpzReader::entries() const { return impl_->entries; }

std::vector<double> NpzReader::read(const NpzEntry& entry) const {
  if (!entry.problem.empty()) throw InputError(entry.problem);
  const std::string where = fmt::format("{}: {}", impl_->path, printable(entry.name));
  const Member member = impl_->open(entry.member, where);
  std::vector<char> skipped(entry.header_bytes);
  read_exactly(member.get(), skipped.data(), skipped.size(), where);
  std::vector<double> values(static_cast<std::size_t>(element_count(entry.header.shape)));
  std::vector<std::byte> bytes(values.size() * element_bytes(entry.header.element));
  read_exactly(member.get(), bytes.data(), bytes.size(), where);
  check_end(member.get(), where);
  decode(entry.header.element, bytes.data(), values, where);
  return entry.header.fortran_order ? row_major(values, entry.header.shape) : values;
}

}  // namespace assay::golden
