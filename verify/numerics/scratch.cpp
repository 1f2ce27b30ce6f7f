#include "verify/numerics/scratch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "golden/contract/error.h"

namespace assay::verify {
namespace {

[[noreturn]] void fail_scratch(const std::string& folder, const char* what) {
  throw InputError(fmt::format("{}: a temporary file cannot be {}: {}; TMPDIR names another folder",
                               folder, what, std::strerror(errno)));
}

}  // namespace

Scratch::Scratch() {
  std::error_code failed;
  folder_ = std::filesystem::temp_directory_path(failed);
  if (failed)
    throw InputError("TMPDIR: expected a folder for temporary files: " + failed.message());
  std::string name = std::filesystem::path(folder_) / "assay-scratch-XXXXXX";
  file_ = ::mkstemp(name.data());
  if (file_ < 0) fail_scratch(folder_, "made");
  ::unlink(name.c_str());
  ::fcntl(file_, F_SETFD, FD_CLOEXEC);
}

Scratch::~Scratch() { ::close(file_); }

void Scratch::put(const std::string& key, const reference::Array& values) {
  const auto found = places_.find(key);
  const bool fits =
      found != places_.end() && golden::element_count(found->second.shape) == values.size();
  const int64_t offset = fits ? found->second.offset : end_;
  const auto* bytes = reinterpret_cast<const char*>(values.data());
  const auto size = values.size() * static_cast<int64_t>(sizeof(double));
  for (int64_t done = 0; done < size;) {
    const ssize_t wrote =
        ::pwrite(file_, bytes + done, static_cast<std::size_t>(size - done), offset + done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) fail_scratch(folder_, "written");
    done += wrote;
  }
  if (!fits) end_ += size;
  places_[key] = {values.shape(), offset};
}

reference::Array Scratch::get(const std::string& key) const {
  const Place& place = places_.at(key);
  auto values = reference::Array::uninitialized(place.shape);
  auto* bytes = reinterpret_cast<char*>(values.data());
  const auto size = values.size() * static_cast<int64_t>(sizeof(double));
  for (int64_t done = 0; done < size;) {
    const ssize_t got =
        ::pread(file_, bytes + done, static_cast<std::size_t>(size - done), place.offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = EIO;  // it is shorter than what was written
    if (got <= 0) fail_scratch(folder_, "read");
    done += got;
  }
  return values;
}

}  // namespace assay::verify
