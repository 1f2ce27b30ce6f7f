// A file as bytes, below any format.
#pragma once

#include <cstdint>
#include <string>

namespace assay::golden {

// A run of bytes in the file.
struct Extent {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  bool operator==(const Extent&) const = default;
};

// A file descriptor; every failure is an InputError that names the file.
class RawFile {
 public:
  enum class Mode { read, update };
  RawFile(std::string path, Mode mode);
  ~RawFile();
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;

  int descriptor() const { return descriptor_; }
  uint64_t size() const;
  void read(Extent extent, void* out) const;  // safe from any number of threads
  void write(uint64_t offset, const std::string& text);
  void sync();
  void close();  // throws what a destructor has to swallow

 private:
  std::string path_;
  int descriptor_;
};

// While one lives, what its thread writes is not synced: files that end with the process.
class ShortLived {
 public:
  ShortLived();
  ~ShortLived();
  ShortLived(const ShortLived&) = delete;
  ShortLived& operator=(const ShortLived&) = delete;
  static bool any();
};

// What was written to the file is on the disk, or InputError.
void sync_file(const std::string& path);

}  // namespace assay::golden
