#include "cli/process/streams.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <initializer_list>

namespace assay::cli {
namespace {

struct Sink {
  int descriptor;
  int error = 0;  // of the first write that failed
};
Sink out{STDOUT_FILENO}, err{STDERR_FILENO};

// Of fopencookie: everything counts as written, also what is lost.
ssize_t write_all(void* cookie, const char* data, std::size_t bytes) {
  auto& sink = *static_cast<Sink*>(cookie);
  for (std::size_t done = 0; done < bytes && sink.error == 0;) {
    const ssize_t written = ::write(sink.descriptor, data + done, bytes - done);
    if (written >= 0) {
      done += static_cast<std::size_t>(written);
    } else if (errno != EINTR) {
      sink.error = errno;
    }
  }
  return static_cast<ssize_t>(bytes);
}

std::FILE* stream_of(Sink& sink, int buffering) {
  std::FILE* stream = fopencookie(
      &sink, "w", {.read = nullptr, .write = write_all, .seek = nullptr, .close = nullptr});
  if (stream != nullptr) std::setvbuf(stream, nullptr, buffering, BUFSIZ);
  return stream;
}

}  // namespace

void keep_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(descriptor, F_GETFD) >= 0) continue;
    if (::open("/dev/null", O_RDWR) != descriptor) return;  // no /dev/null: nothing can be done
  }
  const int buffering = isatty(STDOUT_FILENO) != 0 ? _IOLBF : _IOFBF;
  if (std::FILE* stream = stream_of(out, buffering)) stdout = stream;
  if (std::FILE* stream = stream_of(err, _IONBF)) stderr = stream;
}

int lost_output() {
  std::fflush(stdout);
  return out.error;
}

}  // namespace assay::cli
