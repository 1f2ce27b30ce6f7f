// Preloaded into a program: lets one of its calls that write or read files fail, as a failing or a
// full disk does.
//
//   ASSAY_FAULT_FOLDER  calls on files below it count; a file's name decides, not its descriptor
//   ASSAY_FAULT_CALL    number of the call that fails, from 1; 0: none
//   ASSAY_FAULT_ERROR   its errno
//   ASSAY_FAULT_READS   1: calls that read count, else those that write
//   ASSAY_FAULT_LASTING 1: that call and all after it fail, as on a disk that stays full
//   ASSAY_FAULT_SIGNAL  instead of a failure the process gets this signal before the call
//   ASSAY_FAULT_COUNT   file that gets the number of calls at exit
//
// A call that fails does nothing, but for close and fclose, which close as Linux does. C streams
// call the kernel past every preloaded function, so theirs are counted themselves.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

namespace {

std::atomic<long> calls{0};

long number(const char* name) {
  const char* text = getenv(name);
  return text == nullptr ? 0 : atol(text);
}

bool below_folder(const char* path) {
  static const char* folder = getenv("ASSAY_FAULT_FOLDER");
  return folder != nullptr && path != nullptr && strncmp(path, folder, strlen(folder)) == 0;
}

bool below_folder(int descriptor) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return false;
  path[length] = '\0';
  return below_folder(path);
}

bool writable(int descriptor) {
  const int flags = fcntl(descriptor, F_GETFL);
  return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

// Counts the call; true with errno set if it is to fail.
bool fails() {
  static const long chosen = number("ASSAY_FAULT_CALL");
  static const long error = number("ASSAY_FAULT_ERROR");
  static const bool lasting = number("ASSAY_FAULT_LASTING") != 0;
  const long call = ++calls;
  if (chosen == 0 || (lasting ? call < chosen : call != chosen)) return false;
  static const long sent = number("ASSAY_FAULT_SIGNAL");
  if (sent != 0) {
    kill(getpid(), static_cast<int>(sent));
    return false;
  }
  errno = static_cast<int>(error);
  return true;
}

template <class Where>
bool fails_of_kind(Where where, bool reads) {
  static const bool reads_count = number("ASSAY_FAULT_READS") != 0;
  return reads == reads_count && below_folder(where) && fails();
}

template <class Where>
bool fails_in_folder(Where where) {
  return fails_of_kind(where, false);
}

template <class Where>
bool reading_fails(Where where) {
  return fails_of_kind(where, true);
}

struct Counted {
  ~Counted() {
    const char* path = getenv("ASSAY_FAULT_COUNT");
    if (path == nullptr) return;
    if (FILE* file = fopen(path, "w")) {
      fprintf(file, "%ld\n", calls.load());
      fclose(file);
    }
  }
} counted;

}  // namespace

// The next definition of the function: the C library's.
#define REAL(name) \
  static const auto real = reinterpret_cast<decltype(&name)>(dlsym(RTLD_NEXT, #name))

extern "C" {

ssize_t write(int descriptor, const void* data, size_t bytes) {
  REAL(write);
  return fails_in_folder(descriptor) ? -1 : real(descriptor, data, bytes);
}

ssize_t writev(int descriptor, const struct iovec* pieces, int count) {
  REAL(writev);
  return fails_in_folder(descriptor) ? -1 : real(descriptor, pieces, count);
}

ssize_t pwrite(int descriptor, const void* data, size_t bytes, off_t offset) {
  REAL(pwrite);
  return fails_in_folder(descriptor) ? -1 : real(descriptor, data, bytes, offset);
}

ssize_t pwrite64(int descriptor, const void* data, size_t bytes, off64_t offset) {
  REAL(pwrite64);
  return fails_in_folder(descriptor) ? -1 : real(descriptor, data, bytes, offset);
}

int fsync(int descriptor) {
  REAL(fsync);
  return fails_in_folder(descriptor) ? -1 : real(descriptor);
}

int ftruncate(int descriptor, off_t bytes) noexcept {
  REAL(ftruncate);
  return fails_in_folder(descriptor) ? -1 : real(descriptor, bytes);
}

int ftruncate64(int descriptor, off64_t bytes) noexcept {
  REAL(ftruncate64);
  return fails_in_folder(descriptor) ? -1 : real(descriptor, bytes);
}

int close(int descriptor) {
  REAL(close);
  const bool failed = writable(descriptor) && fails_in_folder(descriptor);
  const int error = errno;
  const int result = real(descriptor);
  if (failed) errno = error;
  return failed ? -1 : result;
}

int rename(const char* from, const char* to) noexcept {
  REAL(rename);
  return fails_in_folder(to) ? -1 : real(from, to);
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) noexcept {
  REAL(renameat2);
  return fails_in_folder(to) ? -1 : real(from_folder, from, to_folder, to, flags);
}

int mkdir(const char* path, mode_t mode) noexcept {
  REAL(mkdir);
  return fails_in_folder(path) ? -1 : real(path, mode);
}

int open(const char* path, int flags, ...) {
  REAL(open);
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return fails_of_kind(path, (flags & O_CREAT) == 0) ? -1 : real(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  REAL(open64);
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return fails_of_kind(path, (flags & O_CREAT) == 0) ? -1 : real(path, flags, mode);
}

size_t fwrite(const void* data, size_t bytes, size_t count, FILE* file) {
  REAL(fwrite);
  return fails_in_folder(fileno(file)) ? 0 : real(data, bytes, count, file);
}

int fflush(FILE* file) {
  REAL(fflush);
  return file != nullptr && fails_in_folder(fileno(file)) ? EOF : real(file);
}

int fclose(FILE* file) {
  REAL(fclose);
  const bool failed = writable(fileno(file)) && fails_in_folder(fileno(file));
  const int error = errno;
  const int result = real(file);
  if (failed) errno = error;
  return failed ? EOF : result;
}

ssize_t read(int descriptor, void* data, size_t bytes) {
  REAL(read);
  return reading_fails(descriptor) ? -1 : real(descriptor, data, bytes);
}

ssize_t pread(int descriptor, void* data, size_t bytes, off_t offset) {
  REAL(pread);
  return reading_fails(descriptor) ? -1 : real(descriptor, data, bytes, offset);
}

ssize_t pread64(int descriptor, void* data, size_t bytes, off64_t offset) {
  REAL(pread64);
  return reading_fails(descriptor) ? -1 : real(descriptor, data, bytes, offset);
}

size_t fread(void* data, size_t bytes, size_t count, FILE* file) {
  REAL(fread);
  return reading_fails(fileno(file)) ? 0 : real(data, bytes, count, file);
}

int stat(const char* path, struct stat* status) noexcept {
  REAL(stat);
  return reading_fails(path) ? -1 : real(path, status);
}

int fstat(int descriptor, struct stat* status) noexcept {
  REAL(fstat);
  return reading_fails(descriptor) ? -1 : real(descriptor, status);
}

void* mmap(void* at, size_t bytes, int protection, int flags, int descriptor,
           off_t offset) noexcept {
  REAL(mmap);
  const bool failed = descriptor >= 0 && reading_fails(descriptor);
  return failed ? MAP_FAILED : real(at, bytes, protection, flags, descriptor, offset);
}

}  // extern "C"
