// Where libzip writes an archive to. Internal.
#pragma once

#include <zip.h>

#include <exception>
#include <string>

#include "golden/file/raw_file.h"

namespace assay::golden {

// A file that is there, empty, and is written in place. By itself libzip would write a temporary
// file beside it, under a name that only libzip knows, which a signal would leave behind.
class ZipOutput {
 public:
  explicit ZipOutput(const std::string& path) : file_(path, RawFile::Mode::update) {}

  // For zip_open_from_source, which takes it over; nullptr without memory. Uses this object.
  zip_source_t* source();
  // Of a call that failed; libzip is C.
  std::exception_ptr problem() const { return problem_; }
  // Once the archive is closed: it is on the disk.
  void close();

 private:
  static zip_int64_t serve(void* state, void* data, zip_uint64_t bytes,
                           zip_source_cmd_t command) noexcept;
  zip_int64_t write(const char* data, zip_uint64_t bytes);
  zip_int64_t seek(void* data, zip_uint64_t bytes);

  RawFile file_;
  zip_uint64_t at_ = 0, size_ = 0;
  std::exception_ptr problem_;
};

}  // namespace assay::golden
