// Append and chronological read of a cache of 512 MB beside memcpy, and allocations of each.
//
//   caches_bench [megabytes [repetitions]]
//
// A position is 4 KB. Appends are a position a call, three times the capacity, so that the ring is
// full; reads are of everything that is held. memcpy copies the same positions, one by one and all
// at once, between memory that was touched before. Medians; of one thread.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <vector>

#include "cuda_impl/engine/cache/tiered_cache.h"
#include "reference/streaming/ring_cache.h"

namespace {

int64_t allocations = 0;

}  // namespace

void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace assay;

constexpr int64_t kWidth = 512;  // doubles of a position
constexpr int64_t kRowBytes = 8 * kWidth;

double seconds_of(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median_of(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

struct Speed {
  double append = 0, read = 0;  // GB/s
  double allocations = 0;       // of an appended position
};

// One after the other in each repetition, so that all see the same machine.
class Measured {
 public:
  Measured(std::string name, std::function<void(int64_t count)> append, std::function<void()> read,
           int64_t capacity)
      : name_(std::move(name)), append_(std::move(append)), read_(std::move(read)), R_(capacity) {
    append_(R_);  // touches the memory
  }
  void run() {
    const int64_t before = allocations;
    append_s_.push_back(seconds_of([&] { append_(3 * R_); }));
    allocated_ = static_cast<double>(allocations - before) / static_cast<double>(3 * R_);
    read_s_.push_back(seconds_of(read_));
  }
  Speed speed() const {
    const double gigabytes = 1e-9 * static_cast<double>(R_ * kRowBytes);
    return {3 * gigabytes / median_of(append_s_), gigabytes / median_of(read_s_), allocated_};
  }
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  std::function<void(int64_t)> append_;
  std::function<void()> read_;
  int64_t R_;
  double allocated_ = 0;
  std::vector<double> append_s_, read_s_;
};

}  // namespace

int main(int count, char** words) {
  const int64_t megabytes = count > 1 ? std::max(1, std::atoi(words[1])) : 512;
  const int repetitions = count > 2 ? std::max(1, std::atoi(words[2])) : 5;
  const int64_t R = megabytes * (1 << 20) / kRowBytes / 64 * 64;
  std::vector<double> row(static_cast<std::size_t>(kWidth), 1.0);
  std::vector<double> flat(static_cast<std::size_t>(R * kWidth), 1.0), out(flat.size(), 2.0);

  const auto copy_rows = [&](int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      std::memcpy(flat.data() + i % R * kWidth, row.data(), static_cast<std::size_t>(kRowBytes));
    }
  };
  const auto copy_all = [&] { std::memcpy(out.data(), flat.data(), flat.size() * 8); };

  const reference::KeptTensor kept[] = {{"rows", 1, kWidth}};
  const auto ring = reference::make_ring_cache(kept, {R, 0});
  const uint8_t real[] = {1};
  const reference::KeptRows rows{row.data(), kWidth};
  const auto append_ring = [&](int64_t n) {
    for (int64_t i = 0; i < n; ++i) ring->append(1, {&rows, 1}, real);
  };
  const auto read_ring = [&] { ring->read(0, ring->oldest(), ring->length(), out.data(), 0); };

  cuda::TieredCache tiers({R, 16, kRowBytes});
  const auto append_tiers = [&](int64_t n) {
    for (int64_t i = 0; i < n; ++i) tiers.append(row.data(), 1);
  };
  const auto read_tiers = [&] { tiers.read(tiers.oldest(), tiers.length(), out.data()); };

  std::vector<Measured> all;
  all.reserve(3);
  all.emplace_back("memcpy", copy_rows, copy_all, R);
  all.emplace_back("ring (reference)", append_ring, read_ring, R);
  all.emplace_back("three tiers (host executor)", append_tiers, read_tiers, R);
  for (int i = 0; i < repetitions; ++i) {
    for (Measured& one : all) one.run();
  }
  fmt::print("{} positions of {} bytes, {} repetitions\n", R, kRowBytes, repetitions);
  fmt::print("{:<30}{:>14}{:>8}{:>14}{:>8}{:>22}\n", "", "append GB/s", "ratio", "read GB/s",
             "ratio", "allocations a position");
  const Speed base = all.front().speed();
  for (const Measured& one : all) {
    const Speed speed = one.speed();
    fmt::print("{:<30}{:>14.2f}{:>8.2f}{:>14.2f}{:>8.2f}{:>22.4f}\n", one.name(), speed.append,
               speed.append / base.append, speed.read, speed.read / base.read, speed.allocations);
  }
  return 0;
}
