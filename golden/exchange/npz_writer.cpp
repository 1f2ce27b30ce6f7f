#include <fmt/format.h>
#include <zip.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <set>

#include "golden/contract/error.h"
#include "golden/exchange/npz.h"
#include "golden/exchange/zip_output.h"
#include "golden/file/files.h"

namespace assay::golden {
namespace {

constexpr zip_uint16_t kFirstDay = 1 << 5 | 1;  // 1980-01-01, the earliest that zip can say

// One member, whose bytes are made when the archive asks for them.
struct Source {
  const ExchangeTensor* tensor;
  const FetchValues* fetch;
  Rounding rounding;
  std::string where;
  std::string header;            // of .npy
  std::vector<std::byte> bytes;  // header and data, while the member is open
  std::size_t at = 0;
  std::exception_ptr problem;  // must not pass through the library, which is C

  void open() {
    const std::vector<double> values = (*fetch)(tensor->name);
    ASSAY_CHECK(element_count(tensor->shape) == static_cast<int64_t>(values.size()), tensor->name);
    const std::vector<std::byte> data = encode(tensor->element, values, rounding, where);
    bytes.resize(header.size() + data.size());
    std::memcpy(bytes.data(), header.data(), header.size());
    std::copy(data.begin(), data.end(), bytes.begin() + static_cast<int64_t>(header.size()));
    at = 0;
  }

  zip_int64_t read(void* out, zip_uint64_t most) {
    const std::size_t count = std::min<std::size_t>(most, bytes.size() - at);
    std::memcpy(out, bytes.data() + at, count);
    at += count;
    return static_cast<zip_int64_t>(count);
  }

  zip_int64_t describe(void* out) const {
    auto* status = static_cast<zip_stat_t*>(out);
    zip_stat_init(status);
    status->size = header.size() + tensor->bytes();
    status->comp_size = status->size;
    status->comp_method = ZIP_CM_STORE;
    status->valid = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    return sizeof *status;
  }
};

zip_int64_t serve(void* state, void* data, zip_uint64_t bytes, zip_source_cmd_t command) noexcept {
  auto& source = *static_cast<Source*>(state);
  switch (command) {
    case ZIP_SOURCE_OPEN:
      try {
        source.open();
        return 0;
      } catch (...) {
        source.problem = std::current_exception();
        return -1;
      }
    case ZIP_SOURCE_READ:
      return source.read(data, bytes);
    case ZIP_SOURCE_CLOSE:
      source.bytes = {};
      return 0;
    case ZIP_SOURCE_STAT:
      return source.describe(data);
    case ZIP_SOURCE_ERROR: {
      const int codes[2] = {ZIP_ER_INTERNAL, 0};
      std::memcpy(data, codes, sizeof codes);
      return sizeof codes;
    }
    case ZIP_SOURCE_FREE:
      return 0;
    case ZIP_SOURCE_SUPPORTS:
      return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                            ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, -1);
    default:
      return -1;
  }
}

std::vector<Source> sources_of(const std::string& path, const std::vector<ExchangeTensor>& tensors,
                               const FetchValues& fetch, Rounding rounding) {
  std::vector<Source> sources;
  std::set<std::string> names;
  for (const ExchangeTensor& tensor : tensors) {
    const std::string where = fmt::format("{}: {}", path, printable(tensor.name));
    if (!names.insert(tensor.name).second) {
      throw InputError(where + ": expected each name once, got it twice");
    }
    sources.push_back({.tensor = &tensor,
                       .fetch = &fetch,
                       .rounding = rounding,
                       .where = where,
                       .header = npy_header_text(tensor.element, tensor.shape, where),
                       .bytes = {},
                       .at = 0,
                       .problem = {}});
  }
  return sources;
}

[[noreturn]] void fail(const std::string& path, zip_t* archive) {
  const std::string cause =
      archive == nullptr ? "no archive" : zip_error_strerror(zip_get_error(archive));
  if (archive != nullptr) zip_discard(archive);
  throw InputError(fmt::format("{}: cannot be written: {}", path, cause));
}

zip_t* new_archive(ZipOutput& output) {
  zip_source_t* target = output.source();
  zip_t* archive = target == nullptr
                       ? nullptr
                       : zip_open_from_source(target, ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  if (archive == nullptr) zip_source_free(target);
  return archive;
}

void write_archive(ZipOutput& output, const std::string& shown, std::vector<Source>& sources) {
  zip_t* archive = new_archive(output);
  if (archive == nullptr) fail(shown, archive);
  for (Source& source : sources) {
    zip_source_t* member = zip_source_function(archive, serve, &source);
    const std::string name = source.tensor->name + ".npy";
    const zip_int64_t number =
        member == nullptr ? -1 : zip_file_add(archive, name.c_str(), member, ZIP_FL_ENC_UTF_8);
    if (number < 0) {
      zip_source_free(member);
      fail(shown, archive);
    }
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(number), ZIP_CM_STORE, 0);
    zip_file_set_dostime(archive, static_cast<zip_uint64_t>(number), 0, kFirstDay, 0);
  }
  if (zip_close(archive) == 0) return;
  std::exception_ptr problem = output.problem();
  for (const Source& source : sources) {
    if (!problem) problem = source.problem;
  }
  if (!problem) fail(shown, archive);
  zip_discard(archive);
  std::rethrow_exception(problem);
}

}  // namespace

void write_npz(const std::string& path, const std::vector<ExchangeTensor>& tensors,
               const FetchValues& fetch, Rounding rounding, bool force) {
  std::vector<Source> sources = sources_of(path, tensors, fetch, rounding);
  uint64_t expected = 0;
  for (const Source& source : sources) expected += source.header.size() + source.tensor->bytes();
  PartialFile target(path, force, expected);
  ZipOutput output(target.written());
  write_archive(output, path, sources);
  output.close();
  target.put_in_place();
}

}  // namespace assay::golden
