#include "golden/file/headroom.h"

#include <sys/mman.h>

#include <new>

namespace assay::golden {

void require_headroom(std::size_t bytes) {
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  munmap(at, bytes);
}

}  // namespace assay::golden
