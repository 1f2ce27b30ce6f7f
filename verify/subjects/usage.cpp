#include "verify/subjects/usage.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <vector>

namespace assay::verify {
namespace {

namespace fs = std::filesystem;

// A line "Pss:    1234 kB" of a file of /proc, in bytes; 0 if there is none.
uint64_t kilobytes_of(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":")) return 1024 * std::stoull(line.substr(key.size() + 1));
  }
  return 0;
}

uint64_t resident_pages(int process) {
  uint64_t mapped = 0, resident = 0;
  std::ifstream(fmt::format("/proc/{}/statm", process)) >> mapped >> resident;
  return resident;
}

void add_children(int process, std::vector<int>& list) {
  std::error_code gone;
  for (const fs::directory_entry& thread :
       fs::directory_iterator(fmt::format("/proc/{}/task", process), gone)) {
    std::ifstream children(thread.path() / "children");
    for (int child = 0; children >> child;) list.push_back(child);
  }
}

}  // namespace

FolderUse folder_use(const std::string& folder) {
  FolderUse use;
  std::error_code failed;
  fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied,
                                      failed);
  for (const fs::recursive_directory_iterator end; !failed && at != end; at.increment(failed)) {
    if (++use.entries >= kMostEntries) break;
    std::error_code none;
    if (!fs::is_regular_file(at->symlink_status(none))) continue;
    const uint64_t bytes = at->file_size(none);
    if (!none) use.bytes += bytes;
  }
  return use;
}

uint64_t free_bytes(const std::string& folder) {
  std::error_code failed;
  const fs::space_info space = fs::space(folder, failed);
  return failed ? 0 : space.available;
}

uint64_t resident_below(int process) {
  std::vector<int> processes;
  add_children(process, processes);
  for (std::size_t i = 0; i < processes.size() && i < 10'000; ++i) {
    add_children(processes[i], processes);
  }
  uint64_t bytes = 0;
  for (const int one : processes) {
    // Exact and slow to ask: only where processes may share.
    const uint64_t share =
        processes.size() < 2 ? 0 : kilobytes_of(fmt::format("/proc/{}/smaps_rollup", one), "Pss");
    bytes +=
        share > 0 ? share : resident_pages(one) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  return bytes;
}

}  // namespace assay::verify
