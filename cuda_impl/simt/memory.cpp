// Shared memory of a block, and device memory. Both start with all bits set: what is read before it
// is written is NaN.
#include <cstdlib>
#include <cstring>
#include <new>

#include "cuda_impl/simt/worker.h"

namespace assay::simt::on_host {
namespace host {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kRedZone = 64;  // poisoned after each array

std::size_t align_up(std::size_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

char* carve(SharedMemory& shared, std::size_t bytes) {
  const std::size_t begin = align_up(shared.arena_top);
  if (begin + bytes + kRedZone > shared.arena_bytes)
    fail("shared memory: too many arrays in one block");
  shared.arena_top = begin + bytes + kRedZone;
  char* memory = shared.arena + begin;
  asan::unpoison(memory, bytes);
  if (!tsan::kEnabled)
    std::memset(memory, 0xff, bytes);  // under TSan the mapping is filled already
  return memory;
}

void check_count(std::size_t count) {
  if (count == kMaxCarves) {
    fail("shared memory: expected at most " + std::to_string(kMaxCarves) + " arrays in one block");
  }
}

}  // namespace

std::size_t arena_bytes_for(std::size_t dynamic_bytes) {
  const std::size_t gaps = 2 * kMaxCarves * (kRedZone + kAlignment);
  return align_up(dynamic_bytes + kLargestRatio * kStaticSmemLimit + gaps);
}

void start_shared_memory(Worker& worker) {
  SharedMemory& shared = worker.shared;
  const std::size_t bytes = arena_bytes_for(worker.launch->smem_bytes);
  if (shared.arena_bytes < bytes) {
    asan::unpoison(shared.arena, shared.arena_bytes);
    std::free(shared.arena);
    shared.arena_bytes = 0;
    shared.arena = static_cast<char*>(std::aligned_alloc(kAlignment, bytes));
    if (shared.arena == nullptr) throw std::bad_alloc();
    shared.arena_bytes = bytes;
  }
  asan::poison(shared.arena, shared.arena_bytes);
  shared.static_count = shared.dynamic_count = 0;
  shared.static_bytes = shared.dynamic_bytes = 0;
  shared.arena_top = 0;
}

void* shared_static(const void* key, std::size_t bytes, std::size_t charged) {
  SharedMemory& shared = this_worker->shared;
  for (std::size_t i = 0; i < shared.static_count; ++i) {
    if (shared.statics[i].key == key) return shared.statics[i].memory;
  }
  check_count(shared.static_count);
  shared.static_bytes += smem_align(charged);
  if (shared.static_bytes > kStaticSmemLimit) {
    fail("static shared memory: expected at most " + std::to_string(kStaticSmemLimit) +
         " bytes, got " + std::to_string(shared.static_bytes));
  }
  char* memory = carve(shared, bytes);
  shared.statics[shared.static_count++] = {key, memory, bytes};
  return memory;
}

void* shared_dynamic(std::size_t index, std::size_t bytes) {
  Worker& worker = *this_worker;
  SharedMemory& shared = worker.shared;
  if (index < shared.dynamic_count) {
    const SharedMemory::Carve& made = shared.dynamics[index];
    if (made.bytes == bytes) return made.memory;
    fail("dynamic shared memory: threads carve it differently: " + describe(*worker.current) +
         " takes " + std::to_string(bytes) + " bytes as array " + std::to_string(index) +
         ", another thread took " + std::to_string(made.bytes));
  }
  check_count(shared.dynamic_count);
  if (shared.dynamic_bytes + bytes > worker.launch->smem_bytes) {
    fail("dynamic shared memory overflow: the launch gives " +
         std::to_string(worker.launch->smem_bytes) + " bytes, the kernel takes at least " +
         std::to_string(shared.dynamic_bytes + bytes));
  }
  shared.dynamic_bytes += smem_align(bytes);
  char* memory = carve(shared, bytes);
  shared.dynamics[shared.dynamic_count++] = {nullptr, memory, bytes};
  return memory;
}

}  // namespace host

void* device_alloc(std::size_t bytes) {
  void* memory = std::malloc(bytes != 0 ? bytes : 1);
  if (memory == nullptr)
    throw Error("device_alloc: no memory for " + std::to_string(bytes) + " bytes");
  std::memset(memory, 0xff, bytes);
  return memory;
}

void device_free(void* memory) noexcept { std::free(memory); }

}  // namespace assay::simt::on_host
