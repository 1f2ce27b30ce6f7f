// A library that crashes where its allocations fail is not entered without memory for them.
#include <sys/resource.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <new>

#include "golden/file/hdf5.h"
#include "golden/file/headroom.h"
#include "tests/golden/sample.h"

namespace assay::golden {
namespace {

constexpr std::size_t kMegabyte = std::size_t{1} << 20;

// While it lives the process can map about that much more.
class Limited {
 public:
  explicit Limited(std::size_t bytes) {
    getrlimit(RLIMIT_AS, &before_);
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlimit limit{pages * 4096 + bytes, before_.rlim_max};
    BOOST_REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
  }
  ~Limited() { setrlimit(RLIMIT_AS, &before_); }

 private:
  rlimit before_{};
};

BOOST_AUTO_TEST_CASE(headroom_is_what_can_be_mapped) {
  require_headroom(64 * kMegabyte);
  const Limited limit(32 * kMegabyte);
  require_headroom(16 * kMegabyte);
  BOOST_CHECK_THROW(require_headroom(64 * kMegabyte), std::bad_alloc);
}

BOOST_AUTO_TEST_CASE(hdf5_is_not_entered_without_memory) {
  const sample::TemporaryFolder folder;
  const std::string path = folder.file("x.h5");
  {
    const Limited limit(8 * kMegabyte);
    BOOST_CHECK_THROW(hdf5::File::create(path, path, 0), std::bad_alloc);
  }
  hdf5::File::create(path, path, 0).close();
  const Limited limit(8 * kMegabyte);
  BOOST_CHECK_THROW(hdf5::File::open(path), std::bad_alloc);
}

}  // namespace
}  // namespace assay::golden
