#include "cuda_impl/simt/fibers.h"

#include <sys/mman.h>
#include <unistd.h>

#include "cuda_impl/simt/simt.h"

namespace assay::simt::on_host::host {

std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

std::size_t stack_bytes() {  // only touched pages cost memory
  return asan::kEnabled || tsan::kEnabled ? 256 * 1024 : 128 * 1024;
}

void restart(Fiber& fiber, FiberEntry entry) {
  asan::unpoison(fiber.low, fiber.bytes);
  fiber.fake_stack = nullptr;
  const std::size_t usable = fiber.bytes - fiber.color;
  fiber.resume_at = boost::context::detail::make_fcontext(fiber.low + usable, usable, entry);
}

void FiberPool::grow() {
  const std::size_t guard = page_bytes();
  const std::size_t bytes = stack_bytes();
  void* mapping = mmap(nullptr, guard + bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    throw Error("cannot map the stack of fiber " + std::to_string(all_.size()) +
                "; vm.max_map_count or memory is exhausted, try a smaller SIMT_WORKERS");
  }
  mprotect(mapping, guard, PROT_NONE);
  auto fiber = std::make_unique<Fiber>();
  fiber->low = static_cast<char*>(mapping) + guard;
  fiber->bytes = bytes;
  // With equal page offsets the hot frames of all fibers would share a few cache sets.
  fiber->color = all_.size() * 320 % 4096;
  restart(*fiber, entry_);
  idle_.push_back(fiber.get());
  all_.push_back(std::move(fiber));
}

void FiberPool::reset() {
  idle_.clear();
  for (const auto& fiber : all_) {
    restart(*fiber, entry_);
    idle_.push_back(fiber.get());
  }
}

FiberPool::~FiberPool() {
  for (const auto& fiber : all_) {
    asan::unpoison(fiber->low, fiber->bytes);
    munmap(fiber->low - page_bytes(), page_bytes() + fiber->bytes);
  }
}

}  // namespace assay::simt::on_host::host
