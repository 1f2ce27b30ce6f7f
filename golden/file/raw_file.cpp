#include "golden/file/raw_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "golden/contract/error.h"

namespace assay::golden {
namespace {

thread_local int short_lived = 0;

}  // namespace

ShortLived::ShortLived() { ++short_lived; }
ShortLived::~ShortLived() { --short_lived; }
bool ShortLived::any() { return short_lived > 0; }

RawFile::RawFile(std::string path, Mode mode)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), (mode == Mode::read ? O_RDONLY : O_RDWR) | O_CLOEXEC)) {
  if (descriptor_ < 0) {
    throw InputError(fmt::format("{}: cannot be opened: {}", path_, std::strerror(errno)));
  }
}

RawFile::~RawFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

uint64_t RawFile::size() const {
  struct stat status {};
  if (fstat(descriptor_, &status) != 0) {
    throw InputError(fmt::format("{}: cannot be read: {}", path_, std::strerror(errno)));
  }
  return static_cast<uint64_t>(status.st_size);
}

void RawFile::read(Extent extent, void* out) const {
  auto* at = static_cast<char*>(out);
  while (extent.bytes > 0) {
    const ssize_t got = pread(descriptor_, at, extent.bytes, static_cast<off_t>(extent.offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      throw InputError(fmt::format("{}: cannot be read at byte {}: {}", path_, extent.offset,
                                   got == 0 ? "the file ends there" : std::strerror(errno)));
    }
    at += got;
    extent.offset += static_cast<uint64_t>(got);
    extent.bytes -= static_cast<uint64_t>(got);
  }
}

void RawFile::write(uint64_t offset, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = pwrite(descriptor_, text.data() + done, text.size() - done,
                                 static_cast<off_t>(offset + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      throw InputError(fmt::format("{}: cannot be written: {}", path_, std::strerror(errno)));
    }
    done += static_cast<std::size_t>(wrote);
  }
}

void RawFile::sync() {
  if (ShortLived::any()) return;
  if (fsync(descriptor_) != 0) {
    throw InputError(fmt::format("{}: cannot be synced: {}", path_, std::strerror(errno)));
  }
}

void RawFile::close() {
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) {
    throw InputError(fmt::format("{}: cannot be closed: {}", path_, std::strerror(errno)));
  }
}

void sync_file(const std::string& path) {
  RawFile file(path, RawFile::Mode::update);
  file.sync();
  file.close();
}

}  // namespace assay::golden
