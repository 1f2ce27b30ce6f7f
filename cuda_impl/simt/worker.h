// The state of one worker: the block it runs, that block's threads, and who may run next. Internal
// to the executor.
#pragma once
#include <array>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cuda_impl/simt/fibers.h"
#include "cuda_impl/simt/simt.h"

namespace assay::simt {
inline namespace on_host {
namespace host {

inline constexpr unsigned kMaxThreads = 1024;  // per block, CUDA's limit
inline constexpr unsigned kWarp = 32;
inline constexpr std::size_t kMaxCarves = 64;  // shared arrays per block

enum class LaneState : std::uint8_t { fresh, ready, at_barrier, in_warp, done };

// One CUDA thread of the running block.
struct Lane {
  uint3 thread_idx{};
  unsigned id = 0;
  LaneState state = LaneState::fresh;
  Fiber* fiber = nullptr;      // none before its first turn (always one under TSan)
  void* tsan_fiber = nullptr;  // TSan's own notion of the thread
  Loc site;                    // where it waits ...
  WarpFn fn = nullptr;         // ... and for warp collectives, with what
  void* request = nullptr;
  unsigned mask = 0;
};

// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
// Not a standard engine: the executor carries no TSan instrumentation, and would call that of a
// kernel's translation unit if one used the same engine, because the linker keeps one of the two.
class Random {
 public:
  using result_type = std::uint64_t;
  explicit Random(std::uint64_t seed = 0) : state_(seed) {}
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~result_type{0}; }
  result_type operator()() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

// The runnable lanes, a ring.
class ReadyQueue {
 public:
  void clear() { head_ = count_ = 0; }
  bool empty() const { return count_ == 0; }
  void push(unsigned lane) {
    ring_[(head_ + count_++) % kMaxThreads] = static_cast<std::uint16_t>(lane);
  }
  unsigned pop() {
    const unsigned lane = ring_[head_];
    head_ = (head_ + 1) % kMaxThreads;
    --count_;
    return lane;
  }
  unsigned pop_any(Random& random) {
    const auto steps = static_cast<unsigned>(random() % count_);
    std::swap(ring_[head_], ring_[(head_ + steps) % kMaxThreads]);
    return pop();
  }

 private:
  std::array<std::uint16_t, kMaxThreads> ring_{};
  unsigned head_ = 0, count_ = 0;
};

// Shared memory of the running block: arrays cut from one arena, poisoned gaps between them.
struct SharedMemory {
  struct Carve {
    const void* key;
    char* memory;
    std::size_t bytes;
  };
  // Fixed size: device threads must not allocate.
  std::array<Carve, kMaxCarves> statics{}, dynamics{};
  std::size_t static_count = 0, dynamic_count = 0;
  std::size_t static_bytes = 0, dynamic_bytes = 0;  // as the device would count them
  char* arena = nullptr;
  std::size_t arena_bytes = 0, arena_top = 0;
};
std::size_t arena_bytes_for(std::size_t dynamic_bytes);

// TSan's sync objects of a block: one for its start, two for __syncthreads by parity, one per lane
// each way for warp collectives.
struct SyncObjects {
  std::uint64_t start;
  std::uint64_t barrier[2];
  std::uint64_t arrive[kMaxThreads], depart[kMaxThreads];
};

struct Worker {
  Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  // Fibers may hold addresses of thread-local variables: they are restarted when the OS thread
  // changes.
  std::thread::id os_thread;
  Fiber main;  // the OS thread's own stack
  FiberPool fibers;

  const Launch* launch = nullptr;
  const Config* config = nullptr;
  bool inspects_barriers = false;  // some barrier is to be skipped, or sites are recorded
  Random random;

  std::vector<Lane> lanes;
  unsigned lane_count = 0;
  unsigned alive = 0;    // lanes that have not returned
  unsigned arrived = 0;  // lanes at __syncthreads
  Lane* current = nullptr;
  Loc barrier_site;  // of the lanes that have arrived
  ReadyQueue ready;
  std::array<unsigned, kMaxThreads / kWarp> warp_waiting{};  // lanes in warp collectives
  SharedMemory shared;
  std::string error;  // the first one; ends the block

  Stats stats{};
  std::vector<Loc> sites;  // reserved: device threads must not allocate

  SyncObjects* sync = nullptr;
  void* tsan_main = nullptr;
  std::vector<Fiber> tsan_fibers;
  std::vector<void*> tsan_idle, tsan_dead;  // TSan's threads: of earlier launches, of this one
};

inline constinit thread_local Worker* this_worker =
    nullptr;  // set while a launch runs on this OS thread

// The block starts with nothing carved.
void start_shared_memory(Worker& worker);

// Runs one block to its end. Throws Error.
void run_block(Worker& worker, uint3 block_idx);

// The end of a launch, for TSan: its threads precede what the caller does next.
void finish_tsan_threads(Worker& worker);
// Before a launch from another OS thread, which need not come after what these threads did; and at
// the end of the program, which TSan delays by a second if there are threads.
void forget_tsan_threads(Worker& worker);

void fiber_entry(boost::context::detail::transfer_t from);

// "thread (1,0,0) of block (0,0,0)"; "dir/file.cu:12"
std::string describe(const Lane& lane);
std::string describe(const Loc& site);
std::string hex(unsigned mask);
// Ends the block: unwinds the current thread's own frames and abandons the others.
[[noreturn]] void fail(const std::string& what);

// ------------------------------------------------------------------------------------------
// switching

[[gnu::always_inline]] inline void set_current(Worker& worker, Lane* lane) {
  worker.current = lane;
  threadIdx = lane->thread_idx;
  tsan::switch_to(lane->tsan_fiber);
}

// The lane whose turn it is, or null when none is runnable or the block has failed.
[[gnu::always_inline]] inline Lane* next_lane(Worker& worker) {
  if (worker.ready.empty() || !worker.error.empty()) return nullptr;
  const bool random = worker.config->order == Order::random;
  return &worker.lanes[random ? worker.ready.pop_any(worker.random) : worker.ready.pop()];
}

// Calls visit(i) for the lanes [begin, end) in the order in which they are to become runnable.
template <class Visit>
void in_order(const Worker& worker, unsigned begin, unsigned end, Visit visit) {
  if (worker.config->order == Order::reverse) {
    for (unsigned i = end; i-- > begin;) visit(i);
  } else {
    for (unsigned i = begin; i < end; ++i) visit(i);
  }
}

inline void make_ready(Worker& worker, unsigned lane) {
  worker.lanes[lane].state = LaneState::ready;
  worker.ready.push(lane);
}

// The current lane waits, or has just been made ready: another one continues. Returns at its next
// turn.
[[gnu::always_inline]] inline void yield_from(Worker& worker, Lane* self) {
  Lane* next = next_lane(worker);
  if (next == self) return;
  ++worker.stats.switches;
  if (next == nullptr) {
    tsan::switch_to(worker.tsan_main);
    jump(self->fiber, &worker.main);
    return;
  }
  if (next->fiber == nullptr) next->fiber = worker.fibers.take();
  set_current(worker, next);
  jump(self->fiber, next->fiber);
}

}  // namespace host
}  // namespace on_host
}  // namespace assay::simt
