// Files that are read only when they are what they should be, and written whole or not at all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/file/output.h"

namespace assay::golden {

// Throws InputError unless `path` is a regular file that can be read; `kind` says what was expected
// of it ("an HDF5 file").
void require_readable_file(const std::string& path, const std::string& kind);

// The whole file. Throws InputError as require_readable_file does, and for more than most_bytes.
std::string read_text(const std::string& path, const std::string& kind,
                      uint64_t most_bytes = uint64_t{1} << 26);

// Everything about a name to write to that can be known before hours of work: throws InputError for
// a directory, a folder that is missing or read-only, an existing file without force, and fewer
// free bytes than expected_bytes. Of an output that is written through (output.h), only that it
// may be written to.
void check_target(const std::string& path, bool force, uint64_t expected_bytes);

// Names of the files that runs write beside `path` until they are whole, each followed by the
// number of the process.
std::string partial_prefix(const std::string& path);

// Leftovers of killed runs beside `path`, for a message that says what to clean: partial files
// whose process is gone.
std::vector<std::string> partial_files(const std::string& path);

// A new name is in a folder for good only once the folder is on the disk. Throws InputError, which
// says that `path`, which got the name, is in place. Not under ShortLived (raw_file.h).
void sync_folder(const std::string& folder, const std::string& path);

// A file that gets its name when it is whole. Destroyed before that, it removes what was written; a
// killed process leaves only "<path>.partial-<pid>" (partials.h). Behind a symbolic link it is the
// file that the link leads to, and what is no regular file gets the content written through once it
// is whole.
class PartialFile {
 public:
  // Checks the target as check_target does; makes written(), empty.
  PartialFile(std::string path, bool force, uint64_t expected_bytes);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  const std::string& path() const { return path_; }        // the final name
  const std::string& written() const { return partial_; }  // where to write until then
  void put_in_place();  // renames; without force a file that came into being meanwhile is kept

 private:
  std::string path_, partial_;  // partial_ is empty once it has its final name
  OutputPlace place_;           // behind path_
  bool force_;
};

// `text` as a file, through a PartialFile. Throws InputError also where the disk is full.
void write_whole(const std::string& path, const std::string& text, bool force);

}  // namespace assay::golden
