#include "golden/file/hdf5_library.h"

#include <fmt/format.h>
#include <hdf5.h>

#include <cstddef>
#include <new>

#include "golden/contract/error.h"
#include "golden/file/headroom.h"

namespace assay::golden::hdf5 {
namespace {

// A call takes about 2 MB, to open a file; other threads may take some in the meantime.
constexpr std::size_t kHeadroom = std::size_t{32} << 20;

// No exception may cross the library.
herr_t keep_innermost(unsigned n, const H5E_error2_t* error, void* text) noexcept try {
  if (n == 0 && error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
} catch (const std::bad_alloc&) {
  return -1;
}

// What the library's error stack says at its deepest point; the system's words where it has them.
std::string library_cause() {
  std::string cause;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &cause);
  H5Eclear2(H5E_DEFAULT);
  const std::string marker = "error message = '";
  if (const auto begin = cause.find(marker); begin != std::string::npos) {
    cause = cause.substr(begin + marker.size());
    cause = cause.substr(0, cause.find('\''));
  }
  return cause.empty() ? "no cause given" : cause;
}

}  // namespace

// The library keeps one error stack, and one switch for printing it, per thread. At the process's
// end it would close what is still open, and crash (1.10) on a file whose close failed on a full
// disk; all handles here close themselves, so it has nothing to do there. Where an allocation of
// its own fails it crashes or calls exit(-1) (H5AC_create, H5I_register): it is not entered then.
void enter_library() {
  static const bool set_up = H5dont_atexit() >= 0 && H5Lunregister(H5L_TYPE_EXTERNAL) >= 0;
  (void)set_up;
  thread_local const herr_t silenced = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  (void)silenced;
  require_headroom(kHeadroom);
}

void fail(const std::string& file, const std::string& object, const std::string& what) {
  const std::string where = object.empty() ? file : fmt::format("{}: {}", file, object);
  throw InputError(fmt::format("{}: {}: HDF5 says: {}", where, what, library_cause()));
}

}  // namespace assay::golden::hdf5
