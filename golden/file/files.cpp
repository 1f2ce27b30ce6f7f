#include "golden/file/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "golden/contract/error.h"
#include "golden/file/partials.h"
#include "golden/file/raw_file.h"

namespace assay::golden {
namespace {

namespace fs = std::filesystem;

std::string folder_of(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

bool starts_with(const std::string& path, std::string_view text) {
  std::string start(text.size(), '\0');
  std::ifstream file(path, std::ios::binary);
  return file.read(start.data(), static_cast<std::streamsize>(start.size())) && start == text;
}

// Of the file whose content goes to an output that is written through.
std::string scratch_name() { return (fs::temp_directory_path() / "assay-output").string(); }

}  // namespace

void sync_folder(const std::string& folder, const std::string& path) {
  if (ShortLived::any()) return;
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // a folder that can be written but not read
  const int failure = fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  if (failure == 0 || failure == EINVAL) return;  // EINVAL: a file system without folders to sync
  throw InputError(fmt::format("{}: is in place, but the folder {} cannot be synced: {}", path,
                               folder, std::strerror(failure)));
}

void require_readable_file(const std::string& path, const std::string& kind) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    std::error_code failed;
    if (const fs::path link = fs::read_symlink(path, failed); !failed) {
      throw InputError(fmt::format(
          "{}: a symbolic link to {}, which leads nowhere; fetch or copy the file itself", path,
          link.string()));
    }
    if (errno == ENOENT) throw InputError(fmt::format("{}: no such file", path));
    throw InputError(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  }
  if (S_ISDIR(status.st_mode)) {
    throw InputError(fmt::format("{}: expected {}, got a directory", path, kind));
  }
  if (!S_ISREG(status.st_mode)) {
    throw InputError(fmt::format("{}: expected {}, got something else", path, kind));
  }
  if (access(path.c_str(), R_OK) != 0) {
    throw InputError(fmt::format("{}: cannot be read: {}", path, std::strerror(errno)));
  }
  if (starts_with(path, "version https://git-lfs.github.com/spec/")) {
    throw InputError(fmt::format(
        "{}: expected {}, got a Git LFS pointer to it; 'git lfs pull' in its repository "
        "fetches the file itself",
        path, kind));
  }
}

std::string read_text(const std::string& path, const std::string& kind, uint64_t most_bytes) {
  require_readable_file(path, kind);
  const RawFile file(path, RawFile::Mode::read);
  const uint64_t bytes = file.size();
  if (bytes > most_bytes) {
    throw InputError(
        fmt::format("{}: expected {} of at most {} bytes, got {}", path, kind, most_bytes, bytes));
  }
  std::string text(bytes, '\0');
  file.read({0, bytes}, text.data());
  return text;
}

void check_target(const std::string& path, bool force, uint64_t expected_bytes) {
  const OutputPlace place = output_place(path);
  if (place.through) {
    if (place.descriptor >= 0 || access(place.path.c_str(), W_OK) == 0) return;
    throw InputError(fmt::format("{}: cannot be written to: {}", path, std::strerror(errno)));
  }
  const std::string folder = folder_of(place.path);
  std::error_code ignored;
  if (fs::path(path).filename().empty() || fs::is_directory(path, ignored)) {
    throw InputError(fmt::format("{}: expected the name of a file, got a directory", path));
  }
  if (!fs::exists(folder, ignored)) {
    throw InputError(fmt::format("{}: no such folder: {}; make it first", path, folder));
  }
  if (!fs::is_directory(folder, ignored)) {
    throw InputError(fmt::format("{}: expected a folder, got a file: {}", path, folder));
  }
  if (faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    throw InputError(fmt::format("{}: the folder {} cannot be written to: {}", path, folder,
                                 std::strerror(errno)));
  }
  if (!force && fs::exists(path, ignored)) {
    throw InputError(fmt::format("{}: the file exists; --force replaces it", path));
  }
  struct statvfs space {};
  if (expected_bytes > 0 && statvfs(folder.c_str(), &space) == 0) {
    const uint64_t free_bytes = uint64_t{space.f_bavail} * space.f_frsize;
    if (free_bytes < expected_bytes) {
      throw InputError(
          fmt::format("{}: not enough space in {}: expected {} bytes, got {} free; free some, or "
                      "store less",
                      path, folder, expected_bytes, free_bytes));
    }
  }
}

std::string partial_prefix(const std::string& path) { return path + ".partial-"; }

std::vector<std::string> partial_files(const std::string& name_of_output) {
  const std::string path = output_place(name_of_output).path;
  const std::string prefix = fs::path(partial_prefix(path)).filename().string();
  std::vector<std::string> found;
  std::error_code failed;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_of(path), failed)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    pid_t owner = 0;
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + prefix.size(), end, owner);
    if (parsed.ec != std::errc() || owner <= 0) continue;
    if (parsed.ptr != end && *parsed.ptr != '.') continue;  // ".1"
    if (kill(owner, 0) == 0 || errno == EPERM) continue;    // its process is alive: no leftover
    found.push_back((fs::path(path).parent_path() / name).string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

PartialFile::PartialFile(std::string path, bool force, uint64_t expected_bytes)
    : path_(std::move(path)), force_(force) {
  check_target(path_, force_, expected_bytes);
  place_ = output_place(path_);
  partial_ = make_partial(place_.through ? scratch_name() : place_.path, path_);
}

PartialFile::~PartialFile() {
  if (partial_.empty()) return;
  ::unlink(partial_.c_str());
  forget_partial(partial_);
}

void PartialFile::put_in_place() {
  if (place_.through) {
    write_through(partial_, place_, path_);
    ::unlink(partial_.c_str());
    forget_partial(partial_);
    partial_.clear();
    return;
  }
  const char* name = place_.path.c_str();
  int failed = renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, name, force_ ? 0 : RENAME_NOREPLACE);
  if (failed != 0 && (errno == EINVAL || errno == ENOSYS)) {  // a file system without the flag
    failed = std::rename(partial_.c_str(), name);
  }
  if (failed != 0) {
    throw InputError(
        fmt::format("{}: cannot be put in place of {}: {}", path_, partial_, std::strerror(errno)));
  }
  forget_partial(partial_);
  partial_.clear();
  sync_folder(folder_of(place_.path), path_);
}

void write_whole(const std::string& path, const std::string& text, bool force) {
  PartialFile target(path, force, text.size());
  std::ofstream file(target.written(), std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) throw InputError(fmt::format("{}: cannot be written: is the disk full?", path));
  sync_file(target.written());
  target.put_in_place();
}

}  // namespace assay::golden
