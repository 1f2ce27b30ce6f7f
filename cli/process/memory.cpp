#include "cli/process/memory.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>

#include "golden/file/headroom.h"

namespace assay::cli {
namespace {

constexpr std::size_t kStartBytes = std::size_t{64} << 20;  // threads, first buffers of libraries
std::atomic<void*> kept_back = nullptr;                     // of any thread

// A line "key: N kB" of a file below /proc, in MB; -1 where there is none.
int64_t megabytes(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    int64_t kilobytes = 0;
    if (word == key && file >> kilobytes) return kilobytes / 1024;
    file.clear();
  }
  return -1;
}

bool is_limited(rlimit& limit) {
  return getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

}  // namespace

bool is_want_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  const std::string text = error.what();  // oneTBB has no type of its own for it
  return text.find(std::strerror(EAGAIN)) != std::string::npos ||
         text.find(std::strerror(ENOMEM)) != std::string::npos;
}

void keep_memory_for_failures() {
  golden::require_headroom(kStartBytes);
  kept_back = std::malloc(std::size_t{1} << 20);
}

int leave(int code) {
  rlimit limit{};
  if (!is_limited(limit)) return code;
  std::fflush(nullptr);
  _exit(code);
}

std::string memory_text() {
  std::free(kept_back.exchange(nullptr));
  rlimit limit{};
  const bool limited = is_limited(limit);
  return fmt::format("this process held {} MB{}, {} MB are free on this machine",
                     limited ? megabytes("/proc/self/status", "VmPeak:")
                             : megabytes("/proc/self/status", "VmHWM:"),
                     limited ? fmt::format(" of at most {} MB", limit.rlim_cur >> 20) : "",
                     megabytes("/proc/meminfo", "MemAvailable:"));
}

}  // namespace assay::cli
