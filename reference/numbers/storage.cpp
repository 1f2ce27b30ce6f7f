#include "reference/numbers/storage.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace assay::reference {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kMapping = std::size_t{256} << 20;
constexpr std::size_t kLarge = std::size_t{128} << 10;

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

std::size_t bytes_of(std::size_t count) {
  return round_up(std::max<std::size_t>(1, count) * sizeof(double), kAlignment);
}

Heap& heap() {
  static auto* instance = new Heap;  // outlives every static Array
  return *instance;
}

}  // namespace

char* Heap::take(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  bytes = round_up(bytes, kAlignment);
  auto fit = sizes_.lower_bound({bytes, nullptr});
  if (fit == sizes_.end()) {
    map_more(bytes);
    fit = sizes_.lower_bound({bytes, nullptr});
  }
  const Place place = blocks_.find(fit->second);
  sizes_.erase(fit);
  const std::size_t rest = place->second.bytes - bytes;
  place->second = {bytes, false};
  if (rest > 0) put_free(blocks_.insert({place->first + bytes, {rest, true}}).first);
  return place->first;
}

void Heap::give(char* block) {
  const std::lock_guard lock(mutex_);
  put_free(blocks_.find(block));
}

// Mappings that happen to touch are one.
void Heap::put_free(Place place) {
  place->second.free = true;
  const auto next = std::next(place);
  if (next != blocks_.end() && next->second.free &&
      place->first + place->second.bytes == next->first) {
    sizes_.erase({next->second.bytes, next->first});
    place->second.bytes += next->second.bytes;
    blocks_.erase(next);
  }
  if (place != blocks_.begin()) {
    const auto previous = std::prev(place);
    if (previous->second.free && previous->first + previous->second.bytes == place->first) {
      sizes_.erase({previous->second.bytes, previous->first});
      previous->second.bytes += place->second.bytes;
      blocks_.erase(place);
      place = previous;
    }
  }
  sizes_.insert({place->second.bytes, place->first});
}

void Heap::map_more(std::size_t bytes) {
  const std::size_t size = round_up(bytes, kMapping);
  void* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  mapped_ += size;
  put_free(blocks_.insert({static_cast<char*>(at), {size, true}}).first);
}

void Heap::trim() {
  const std::lock_guard lock(mutex_);
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (const auto& [bytes, block] : sizes_) {
    const std::size_t skip = round_up(reinterpret_cast<std::uintptr_t>(block), page) -
                             reinterpret_cast<std::uintptr_t>(block);
    if (bytes < skip + page) continue;
    madvise(block + skip, (bytes - skip) / page * page, MADV_DONTNEED);
  }
}

std::size_t Heap::mapped_bytes() const {
  const std::lock_guard lock(mutex_);
  return mapped_;
}

double* take_storage(std::size_t count) {
  const std::size_t bytes = bytes_of(count);
  if (bytes >= kLarge) return reinterpret_cast<double*>(heap().take(bytes));
  auto* const storage = static_cast<double*>(std::aligned_alloc(kAlignment, bytes));
  if (storage == nullptr) throw std::bad_alloc();
  return storage;
}

void give_storage(double* storage, std::size_t count) {
  if (bytes_of(count) >= kLarge) {
    heap().give(reinterpret_cast<char*>(storage));
  } else {
    std::free(storage);
  }
}

void trim_storage() { heap().trim(); }

}  // namespace assay::reference
