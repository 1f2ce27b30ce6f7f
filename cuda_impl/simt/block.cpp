// One block from its first thread to its last: fibers take the threads in turn until none can run.
#include <sys/mman.h>

#include <cstring>
#include <exception>
#include <optional>

#include "cuda_impl/simt/worker.h"

namespace assay::simt::on_host::host {
namespace {

// TSan's sync object for the end of a thread: everything before it precedes the end of the launch.
char g_thread_end;

// Enough dead fibers that a reused TSan id belongs to a thread nobody races with any more (rule 4).
constexpr std::size_t kDeadFibersKept = 4096;
// To make a thread is most of what TSan costs: threads of one launch are used again in the next
// (rule 6). This many, which all have room beside those of the launch that runs: TSan has 8128 in
// all.
constexpr std::size_t kIdleFibersKept = 2048;

// Runs the current lane, then further lanes that have not started, as long as they do not have to
// wait. A kernel without barriers therefore runs without a single switch.
[[noreturn]] void run_lanes(Worker& worker, Fiber* self) {
  for (;;) {
    worker.current->fiber = self;
    try {
      worker.launch->run_thread(worker.launch->call);
    } catch (const std::exception& error) {
      if (worker.error.empty()) worker.error = error.what();
    } catch (...) {
      if (worker.error.empty())
        worker.error = "the kernel threw something that is no std::exception";
    }
    Lane& lane = *worker.current;
    lane.state = LaneState::done;
    --worker.alive;
    tsan::release(&g_thread_end);
    if (worker.arrived != 0 && worker.error.empty()) {
      worker.error = "exit while others wait: " + describe(lane) + " has returned, " +
                     std::to_string(worker.arrived) + " threads wait at __syncthreads " +
                     describe(worker.barrier_site);
    }
    Lane* next = next_lane(worker);
    if (next != nullptr && next->fiber == nullptr) {
      set_current(worker, next);
      continue;
    }
    if (!tsan::kEnabled) worker.fibers.give_back(self);
    ++worker.stats.switches;
    if (next != nullptr) {
      set_current(worker, next);
      jump(self, next->fiber);
    } else {
      tsan::switch_to(worker.tsan_main);
      jump(self, &worker.main);
    }
  }
}

// Gives every lane a thread of TSan's that has done nothing in this launch and comes after the
// caller.
void start_tsan_threads(Worker& worker) {
  if (!tsan::kEnabled) return;
  tsan::release(&worker.sync->start);
  for (unsigned i = 0; i < worker.lane_count; ++i) {
    void*& thread = worker.lanes[i].tsan_fiber;
    if (worker.tsan_idle.empty()) {
      thread = tsan::create_fiber();
      continue;
    }
    thread = worker.tsan_idle.back();
    worker.tsan_idle.pop_back();
    tsan::switch_to(thread);
    tsan::acquire(&worker.sync->start);
  }
  tsan::switch_to(worker.tsan_main);
}

// After a good block: its threads are used no more in this launch.
void retire_tsan_threads(Worker& worker) {
  if (!tsan::kEnabled) return;
  auto& dead = worker.tsan_dead;
  for (unsigned i = 0; i < worker.lane_count; ++i) dead.push_back(worker.lanes[i].tsan_fiber);
  if (dead.size() <= kDeadFibersKept) return;
  const auto surplus = static_cast<std::ptrdiff_t>(dead.size() - kDeadFibersKept);
  for (auto it = dead.begin(); it != dead.begin() + surplus; ++it) tsan::destroy_fiber(*it);
  dead.erase(dead.begin(), dead.begin() + surplus);
}

void make_lanes(Worker& worker) {
  const dim3 block = worker.launch->block;
  unsigned id = 0;
  for (unsigned z = 0; z < block.z; ++z) {
    for (unsigned y = 0; y < block.y; ++y) {
      for (unsigned x = 0; x < block.x; ++x, ++id) {
        Lane& lane = worker.lanes[id];
        lane = Lane{};
        lane.thread_idx = {x, y, z};
        lane.id = id;
        if (tsan::kEnabled) lane.fiber = &worker.tsan_fibers[id];
      }
    }
  }
  start_tsan_threads(worker);
  worker.ready.clear();
  in_order(worker, 0, worker.lane_count, [&](unsigned lane) { worker.ready.push(lane); });
  worker.warp_waiting.fill(0);
  worker.alive = worker.lane_count;
  worker.arrived = 0;
}

// Under TSan a block lives in a mapping of its own (rule 2): sync objects, shared memory, stacks.
class TsanMapping {
 public:
  explicit TsanMapping(Worker& worker) : worker_(worker) {
    const std::size_t arena_bytes = arena_bytes_for(worker.launch->smem_bytes);
    const std::size_t sync_bytes = round_to_page(sizeof(SyncObjects));
    bytes_ = sync_bytes + round_to_page(arena_bytes) + worker.lane_count * stack_bytes();
    memory_ = static_cast<char*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (memory_ == MAP_FAILED)
      throw Error("cannot map " + std::to_string(bytes_) + " bytes for a block");
    worker.sync = reinterpret_cast<SyncObjects*>(memory_);
    worker.shared.arena = memory_ + sync_bytes;
    worker.shared.arena_bytes = arena_bytes;
    std::memset(worker.shared.arena, 0xff, arena_bytes);  // here and not in carve: rule 5
    worker.tsan_fibers.assign(worker.lane_count, Fiber{});
    for (unsigned i = 0; i < worker.lane_count; ++i) {
      Fiber& fiber = worker.tsan_fibers[i];
      fiber.low = memory_ + bytes_ - (i + 1) * stack_bytes();
      fiber.bytes = stack_bytes();
      restart(fiber, fiber_entry);
    }
  }
  TsanMapping(const TsanMapping&) = delete;
  TsanMapping& operator=(const TsanMapping&) = delete;
  ~TsanMapping() {
    munmap(memory_, bytes_);
    worker_.shared.arena = nullptr;
    worker_.shared.arena_bytes = 0;
  }

 private:
  static std::size_t round_to_page(std::size_t bytes) {
    return (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
  }

  Worker& worker_;
  char* memory_;
  std::size_t bytes_;
};

// After a failure: what the abandoned threads did precedes what the caller does next. After a good
// block nothing is acquired, or the blocks of a grid would be ordered. To TSan the threads are
// still inside the kernel: they are not used again.
void abandon_tsan_threads(Worker& worker) {
  if (!tsan::kEnabled) return;
  for (unsigned i = 0; i < worker.lane_count; ++i) {
    tsan::switch_to(worker.lanes[i].tsan_fiber);
    tsan::release(&g_thread_end);
  }
  tsan::switch_to(worker.tsan_main);
  tsan::acquire(&g_thread_end);
  for (unsigned i = 0; i < worker.lane_count; ++i) {
    tsan::destroy_fiber(worker.lanes[i].tsan_fiber);
  }
}

// Nothing can run, yet threads wait: says how many, and one of them for each place.
std::string describe_deadlock(const Worker& worker) {
  unsigned at_barrier = 0, in_warp = 0;
  std::string examples;
  for (unsigned i = 0; i < worker.lane_count; ++i) {
    const Lane& lane = worker.lanes[i];
    if (lane.state != LaneState::at_barrier && lane.state != LaneState::in_warp) continue;
    ++(lane.state == LaneState::at_barrier ? at_barrier : in_warp);
    const std::string site = describe(lane.site);
    if (examples.find(site) != std::string::npos) continue;
    examples += (examples.empty() ? " " : ", ") + describe(lane) + " at " + site;
    if (lane.state == LaneState::in_warp) examples += " waits for mask " + hex(lane.mask);
  }
  return "deadlock: " + std::to_string(at_barrier) + " threads at __syncthreads, " +
         std::to_string(in_warp) + " in warp collectives, " +
         std::to_string(worker.lane_count - worker.alive) + " have returned:" + examples;
}

}  // namespace

void fiber_entry(boost::context::detail::transfer_t from) {
  arrive(from, nullptr);
  Worker& worker = *this_worker;
  run_lanes(worker, worker.current->fiber);
}

void finish_tsan_threads(Worker& worker) {
  tsan::acquire(&g_thread_end);
  for (void* thread : worker.tsan_dead) {
    if (worker.tsan_idle.size() < kIdleFibersKept) {
      worker.tsan_idle.push_back(thread);
    } else {
      tsan::destroy_fiber(thread);
    }
  }
  worker.tsan_dead.clear();
}

void forget_tsan_threads(Worker& worker) {
  for (void* thread : worker.tsan_idle) tsan::destroy_fiber(thread);
  worker.tsan_idle.clear();
}

void run_block(Worker& worker, uint3 block_idx) {
  blockIdx = block_idx;
  std::optional<TsanMapping> mapping;
  if (tsan::kEnabled) mapping.emplace(worker);
  start_shared_memory(worker);
  make_lanes(worker);
  ++worker.stats.blocks;
  worker.stats.threads += worker.lane_count;

  Lane* first = next_lane(worker);
  if (first->fiber == nullptr) first->fiber = worker.fibers.take();
  set_current(worker, first);
  jump(&worker.main, first->fiber);  // comes back when nobody can run

  if (worker.error.empty() && worker.alive != 0) worker.error = describe_deadlock(worker);
  if (worker.error.empty()) {
    retire_tsan_threads(worker);
    return;
  }
  abandon_tsan_threads(worker);
  if (worker.alive != 0) worker.fibers.reset();
  throw Error(std::string(worker.launch->name) + ": " + std::exchange(worker.error, {}));
}

}  // namespace assay::simt::on_host::host
