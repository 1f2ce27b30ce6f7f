#include <fmt/format.h>

#include <filesystem>

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
  golden::write_whole(path, text, true);
}

}  // namespace assay::verify
