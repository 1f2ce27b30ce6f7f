#include "verify/subjects/library/library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>

#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::verify {
namespace {

template <class Function>
void resolve(void* handle, const std::string& path, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(handle, name));
  if (function != nullptr) return;
  ::dlclose(handle);
  throw InputError(fmt::format(
      "{}: it has no function {}: expected those of assay_subject.h, exported with C linkage", path,
      name));
}

}  // namespace

Library::Library(const std::string& path) {
  if (!std::filesystem::is_regular_file(path)) {
    throw InputError(fmt::format("{}: no such file: expected a shared library", path));
  }
  // With a slash in it a name is a path; else it is looked for in the system's folders.
  const std::string absolute = std::filesystem::absolute(path);
  handle_ = ::dlopen(absolute.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    const char* why = ::dlerror();
    throw InputError(fmt::format("{}: it cannot be loaded as a shared library: {}", path,
                                 golden::one_line(why == nullptr ? "" : why)));
  }
  decltype(&assay_subject_abi) abi = nullptr;
  resolve(handle_, path, "assay_subject_abi", abi);
  if (const int32_t got = abi(); got != ASSAY_SUBJECT_ABI) {
    ::dlclose(handle_);
    throw InputError(
        fmt::format("{}: compiled with another assay_subject.h: expected interface {}, got {}; "
                    "compile it with the one that is installed with this program",
                    path, ASSAY_SUBJECT_ABI, got));
  }
  resolve(handle_, path, "assay_subject_open", open);
  resolve(handle_, path, "assay_subject_describe", describe);
  resolve(handle_, path, "assay_subject_run", run);
  resolve(handle_, path, "assay_subject_error", error);
  resolve(handle_, path, "assay_subject_close", close);
}

Library::~Library() { ::dlclose(handle_); }

}  // namespace assay::verify
