#include "golden/file/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "golden/contract/error.h"

namespace assay::golden {
namespace {

namespace fs = std::filesystem;

constexpr int kMostLinks = 40;  // that Linux follows in one name

// The number N of "/proc/self/fd/N", by whatever name the folder goes; -1 for everything else.
int own_descriptor(const fs::path& path) {
  std::error_code failed;
  const fs::path folder = fs::canonical(path.parent_path(), failed);
  if (failed || folder != fs::canonical("/proc/self/fd", failed)) return -1;
  const std::string name = path.filename().string();
  int number = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? number : -1;
}

bool starts_with_one_of(const std::string& path, const std::vector<std::string>& beginnings) {
  std::size_t longest = 0;
  for (const std::string& beginning : beginnings) longest = std::max(longest, beginning.size());
  std::string start(longest, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(start.data(), static_cast<std::streamsize>(longest));
  start.resize(static_cast<std::size_t>(file.gcount()));
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](const std::string& beginning) { return start.starts_with(beginning); });
}

// The input that `output` is, or "".
std::string input_of(const std::string& output, const std::string& input) {
  std::error_code ignored;
  if (!fs::is_directory(input, ignored)) return same_file(output, input) ? input : "";
  for (const fs::directory_entry& entry : fs::directory_iterator(input, ignored)) {
    const std::string name = entry.path().string(), file = entry.path().filename().string();
    const bool is_read = file == "config.json" || file.ends_with(".safetensors") ||
                         file.ends_with(".safetensors.index.json");
    if (is_read && same_file(output, name)) return name;
  }
  return "";
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return number_; }
  int close() { return ::close(std::exchange(number_, -1)); }

 private:
  int number_;
};

}  // namespace

OutputPlace output_place(const std::string& path) {
  fs::path at = path;
  for (int links = 0; links < kMostLinks; ++links) {
    struct stat status {};
    if (lstat(at.c_str(), &status) != 0) {
      if (links == 0 || errno != ENOENT) return {at.string()};
      throw InputError(
          fmt::format("{}: a symbolic link to {}, which does not exist; make or name the file "
                      "that it should lead to",
                      path, at.string()));
    }
    if (!S_ISLNK(status.st_mode)) {
      return {at.string(), !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)};
    }
    if (const int number = own_descriptor(at); number >= 0) return {at.string(), true, number};
    std::error_code failed;
    const fs::path next = fs::read_symlink(at, failed);
    if (failed) break;
    at = next.is_absolute() ? next : at.parent_path() / next;
  }
  throw InputError(path + ": a symbolic link that leads in circles or cannot be read");
}

bool same_file(const std::string& a, const std::string& b) {
  struct stat one {
  }, other{};
  if (stat(a.c_str(), &one) != 0 || stat(b.c_str(), &other) != 0) {
    return fs::path(a).lexically_normal() == fs::path(b).lexically_normal();
  }
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

void require_apart(const std::vector<Output>& outputs, const std::vector<std::string>& inputs) {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Output& output = outputs[i];
    if (output.path.empty() || output_place(output.path).through) continue;
    for (const std::string& name : inputs) {
      const std::string input = name.empty() ? "" : input_of(output.path, name);
      if (input.empty()) continue;
      throw InputError(
          fmt::format("{} {}: is the input {}: expected another file; an output never replaces an "
                      "input",
                      output.option, output.path, input));
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (outputs[j].path.empty() || !same_file(outputs[j].path, output.path)) continue;
      throw InputError(fmt::format("{} {}: expected a file of its own, got that of {}",
                                   output.option, output.path, outputs[j].option));
    }
  }
}

void require_own(const Output& output, const std::vector<std::string>& beginnings, bool force) {
  if (output.path.empty() || force) return;
  const OutputPlace place = output_place(output.path);
  std::error_code failed;
  if (place.through || !fs::is_regular_file(place.path, failed)) return;
  if (fs::file_size(place.path, failed) == 0 || failed) return;
  if (starts_with_one_of(place.path, beginnings)) return;
  throw InputError(
      fmt::format("{} {}: the file exists and is not one that this option wrote; --force replaces "
                  "it",
                  output.option, output.path));
}

void write_through(const std::string& from, const OutputPlace& place, const std::string& shown) {
  const auto fail = [&] {
    throw InputError(fmt::format("{}: cannot be written: {}", shown, std::strerror(errno)));
  };
  std::fflush(stdout);  // what was printed stands in front of it
  Descriptor to(place.descriptor >= 0 ? fcntl(place.descriptor, F_DUPFD_CLOEXEC, 3)
                                      : ::open(place.path.c_str(), O_WRONLY | O_CLOEXEC));
  if (to.get() < 0) fail();
  std::ifstream source(from, std::ios::binary);
  std::array<char, 1 << 16> piece{};
  while (source.read(piece.data(), piece.size()), source.gcount() > 0) {
    for (std::streamsize done = 0; done < source.gcount();) {
      const ssize_t written =
          ::write(to.get(), piece.data() + done, static_cast<std::size_t>(source.gcount() - done));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail();
      done += written;
    }
  }
  if (!source.eof()) throw InputError(fmt::format("{}: {} cannot be read back", shown, from));
  if (to.close() != 0) fail();
}

}  // namespace assay::golden
