#include "reference/products/openblas.h"

#include <dlfcn.h>
#include <oneapi/tbb/info.h>
#include <sys/mman.h>

#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace assay::reference {
namespace {

constexpr size_t kBufferBytes = size_t{128} << 20;  // BUFFER_SIZE of its builds for x86-64
constexpr size_t kStartBytes = size_t{192} << 20;   // the library; of a thread, stack and heap

struct Unmap {
  size_t bytes;
  void operator()(void* at) const { munmap(at, bytes); }
};
using Mapping = std::unique_ptr<void, Unmap>;

Mapping mapped(size_t bytes) {
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  return Mapping(at, Unmap{bytes});
}

// A buffer for each of its threads and for each that may call it, one mapping after the other as
// OpenBLAS takes them. Where one cannot be had it asks again for ever.
void require_memory() {
  const size_t own = std::thread::hardware_concurrency();
  const size_t callers = size_t(oneapi::tbb::info::default_concurrency()) + 1;
  std::vector<Mapping> taken;
  for (size_t i = 0; i < own + callers; ++i) taken.push_back(mapped(kBufferBytes));
  for (size_t i = 0; i < own + 1; ++i) taken.push_back(mapped(kStartBytes));
}

template <class Function>
Function* found(void* library, const char* name) {
  auto* const function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function == nullptr) {
    throw std::runtime_error(std::string("products: blas: the OpenBLAS found has no ") + name);
  }
  return function;
}

OpenBlas load() {
  require_memory();
  void* library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);  // stays open
  if (library == nullptr) library = dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw std::runtime_error(std::string("products: blas: OpenBLAS cannot be loaded: ") +
                             dlerror() + "; install libopenblas, or use the ordered products");
  }
  found<decltype(openblas_set_num_threads)>(library, "openblas_set_num_threads")(1);
  return {found<decltype(cblas_dgemm)>(library, "cblas_dgemm"),
          found<decltype(openblas_get_corename)>(library, "openblas_get_corename")};
}

}  // namespace

const OpenBlas& openblas() {
  static const OpenBlas library = load();
  return library;
}

}  // namespace assay::reference
