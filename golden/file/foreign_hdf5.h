// HDF5 files of other people, read by a child process.
//
// A damaged or hostile file can make the library crash, run for hours or take all memory, and it
// has no way to be told not to. So it runs where that costs nothing: in a child with limits of
// memory and time, which answers one question at a time. What ends the child is an InputError about
// the file. A file that is known to be as we wrote it (checksummed_file.h) needs no child.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "golden/file/hdf5.h"

namespace assay::golden::hdf5 {

// The questions are those of File, each safe from any number of threads.
class ForeignFile {
 public:
  explicit ForeignFile(const std::string& path);
  ~ForeignFile();

  std::vector<std::string> datasets() const;
  DatasetInfo info(const std::string& path) const;
  // `out` has as many elements as the dataset. What lies plainly in the file is read past the
  // library.
  void read(const std::string& path, std::span<double> out) const;
  std::string attribute(
      const std::string& name) const;  // of the root, as text; "" if there is none

 private:
  struct Child;
  std::unique_ptr<Child> child_;
};

}  // namespace assay::golden::hdf5
