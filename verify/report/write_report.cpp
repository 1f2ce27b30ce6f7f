#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "golden/contract/error.h"
#include "golden/file/files.h"
#include "verify/report/report.h"

namespace assay::verify {

void write_report(const std::string& text, const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!folder.empty() && !std::filesystem::exists(folder)) {
    throw InputError(
        fmt::format("{}: cannot be written: No such file or directory: {}; make the folder first",
                    path, folder.string()));
  }
  golden::PartialFile target(path, true, text.size());
  std::ofstream file(target.written(), std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) throw InputError(fmt::format("{}: cannot be written: is the disk full?", path));
  target.put_in_place();
}

}  // namespace assay::verify
