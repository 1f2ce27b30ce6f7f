#include "datasets/source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "golden/contract/error.h"

namespace assay::datasets {
namespace {

constexpr std::size_t kBufferBytes = 1 << 16;

}  // namespace

Source::Source(const std::string& path)
    : Source(path, ::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}

Source::Source(int descriptor, const std::string& name)
    : Source(name, ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0)) {}

Source::Source(const std::string& path, int descriptor)
    : path_(path), descriptor_(descriptor), buffer_(kBufferBytes) {
  struct stat status {};
  if (descriptor_ < 0 || fstat(descriptor_, &status) != 0) {
    throw InputError(fmt::format("{}: cannot be read: {}: expected a file of tokens or text", path,
                                 std::strerror(errno)));
  }
  if (S_ISDIR(status.st_mode)) {
    ::close(descriptor_);
    throw InputError(fmt::format(
        "{}: expected a file of tokens or text, got a directory; name a file in it", path));
  }
  if (S_ISREG(status.st_mode)) bytes_ = static_cast<uint64_t>(status.st_size);
  fill();
}

Source::~Source() { ::close(descriptor_); }

Source::int_type Source::underflow() {
  return fill() == 0 ? traits_type::eof() : traits_type::to_int_type(*gptr());
}

// false where it is to end; true once there is something to read.
bool Source::waits_for_more() const {
  constexpr int kAskEveryMs = 100;
  while (asked_) {
    if (asked_()) return false;
    pollfd descriptor{descriptor_, POLLIN, 0};
    if (::poll(&descriptor, 1, kAskEveryMs) > 0) return !asked_();
  }
  return true;
}

// At first the whole buffer, less only at the end, for a format is found out by it; then what is
// there.
std::size_t Source::fill() {
  const bool first = filled_ == 0;
  std::size_t filled = 0;
  while (filled < buffer_.size() && (first || filled == 0) && waits_for_more()) {
    const ssize_t got = ::read(descriptor_, buffer_.data() + filled, buffer_.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw InputError(fmt::format("{}: cannot be read: {}", path_, std::strerror(errno)));
    }
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  filled_ += filled;
  setg(buffer_.data(), buffer_.data(), buffer_.data() + filled);
  return filled;
}

}  // namespace assay::datasets
