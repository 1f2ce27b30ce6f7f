#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "golden/contract/error.h"
#include "verify/report/report.h"

namespace assay::verify {

void write_report(const std::string& text, const std::string& path) {
  const std::string partial = fmt::format("{}.partial-{}", path, getpid());
  std::ofstream file(partial, std::ios::binary);
  file << text;
  file.close();
  if (!file || std::rename(partial.c_str(), path.c_str()) != 0) {
    const int error = errno;
    std::remove(partial.c_str());
    throw InputError(fmt::format("{}: cannot be written: {}; is its folder there, and writable?",
                                 path, std::strerror(error)));
  }
}

}  // namespace assay::verify
