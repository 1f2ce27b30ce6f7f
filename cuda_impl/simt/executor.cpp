// A launch: checks its shape, shares the blocks out to workers, collects what they counted.
#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <set>

#include "cuda_impl/simt/worker.h"

namespace assay::simt::on_host::host {
namespace {

constexpr std::size_t kMaxSites = 512;  // per worker and range of blocks

// Collected from all launches.
std::mutex g_collected_mutex;
Stats g_stats{};
std::set<Site> g_sites;

std::mutex g_atomics_mutex;

void collect(Worker& worker) {
  const std::lock_guard lock(g_collected_mutex);
  const Stats& from = worker.stats;
  g_stats.blocks += from.blocks;
  g_stats.threads += from.threads;
  g_stats.switches += from.switches;
  g_stats.block_barriers += from.block_barriers;
  g_stats.warp_collectives += from.warp_collectives;
  g_stats.skipped_barriers += from.skipped_barriers;
  for (const Loc& site : worker.sites) g_sites.insert({site.file_name(), site.line()});
  worker.stats = {};
  worker.sites.clear();
}

// At most kMaxWorkers workers exist, whichever OS threads oneTBB uses. A thread gets the worker it
// had last, if it can.
class WorkerPool {
 public:
  Worker& take() {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [&] { return !idle_.empty() || all_.size() < kMaxWorkers; });
    const auto mine = std::find_if(idle_.begin(), idle_.end(), [](const Worker* worker) {
      return worker->os_thread == std::this_thread::get_id();
    });
    if (mine == idle_.end() && all_.size() < kMaxWorkers) {
      all_.push_back(std::make_unique<Worker>());
      return *all_.back();
    }
    const auto chosen = mine != idle_.end() ? mine : idle_.end() - 1;
    Worker& worker = **chosen;
    idle_.erase(chosen);
    return worker;
  }
  void give_back(Worker& worker) {
    {
      const std::lock_guard lock(mutex_);
      idle_.push_back(&worker);
    }
    returned_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Worker>> all_;
  std::vector<Worker*> idle_;
};

WorkerPool& pool() {
  static WorkerPool workers;
  return workers;
}

// A worker prepared for a launch on this OS thread, for the lifetime of the lease.
class Lease {
 public:
  Lease(const Launch& launch, const Config& config) : worker_(pool().take()) {
    if (worker_.os_thread != std::this_thread::get_id()) {
      worker_.fibers.reset();
      forget_tsan_threads(worker_);
    }
    worker_.os_thread = std::this_thread::get_id();
    worker_.main = {};
    worker_.tsan_main = tsan::current_fiber();
    worker_.launch = &launch;
    worker_.config = &config;
    worker_.inspects_barriers = config.record_sites || !config.skip_file.empty();
    worker_.lane_count = launch.block.x * launch.block.y * launch.block.z;
    worker_.error.clear();
    blockDim = launch.block;
    gridDim = launch.grid;
    this_worker = &worker_;
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    this_worker = nullptr;
    collect(worker_);
    // The caller goes on after every thread of the launch, and nobody can race with their ids any
    // more.
    finish_tsan_threads(worker_);
    pool().give_back(worker_);
  }
  Worker& worker() const { return worker_; }

 private:
  Worker& worker_;
};

std::string text(dim3 shape) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "(%u,%u,%u)", shape.x, shape.y, shape.z);
  return buffer;
}

// CUDA's limits; returns the number of blocks.
std::uint64_t check_shape(const Launch& launch) {
  const std::string where = launch.name;
  const dim3 grid = launch.grid, block = launch.block;
  if (this_worker != nullptr)
    throw Error(where + ": nested launch: a kernel cannot launch a kernel");
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (block.x > kMaxThreads || block.y > kMaxThreads || block.z > 64 || threads == 0 ||
      threads > kMaxThreads) {
    throw Error(where + ": cudaErrorInvalidConfiguration: block " + text(block) +
                ": expected 1 to 1024 threads and z <= 64");
  }
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  if (grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || blocks == 0 ||
      blocks > 0xffffffffu) {
    throw Error(where + ": cudaErrorInvalidConfiguration: grid " + text(grid) +
                ": expected x of 1 to 2147483647, y and z of 1 to 65535");
  }
  if (launch.smem_bytes > kDynamicSmemLimit) {
    throw Error(where + ": cudaErrorInvalidValue: dynamic shared memory: expected at most " +
                std::to_string(kDynamicSmemLimit) + " bytes, got " +
                std::to_string(launch.smem_bytes));
  }
  return blocks;
}

// The blocks in the order in which they take their turns; empty for ascending.
std::vector<std::uint32_t> block_order(std::uint64_t blocks, const Config& config) {
  if (config.order == Order::forward) return {};
  std::vector<std::uint32_t> order(blocks);
  for (std::uint64_t i = 0; i < blocks; ++i) order[i] = static_cast<std::uint32_t>(i);
  if (config.order == Order::reverse) {
    std::reverse(order.begin(), order.end());
  } else {
    Random random(config.seed);
    std::shuffle(order.begin(), order.end(), random);
  }
  return order;
}

}  // namespace

Worker::Worker() : fibers(fiber_entry), lanes(kMaxThreads) { sites.reserve(kMaxSites); }

Worker::~Worker() {
  forget_tsan_threads(*this);
  asan::unpoison(shared.arena, shared.arena_bytes);
  std::free(shared.arena);
}

void run_grid(const Launch& launch) {
  const std::uint64_t blocks = check_shape(launch);
  const Config settings = config();
  const std::vector<std::uint32_t> order = block_order(blocks, settings);

  const auto run_blocks = [&](std::uint64_t begin, std::uint64_t end) {
    const Lease lease(launch, settings);
    const dim3 grid = launch.grid;
    for (std::uint64_t turn = begin; turn < end; ++turn) {
      const auto block = static_cast<std::uint32_t>(order.empty() ? turn : order[turn]);
      // Seeded by block, so a schedule does not depend on how the blocks are shared out.
      if (settings.order == Order::random) {
        lease.worker().random = Random(settings.seed * 0xd1342543de82ef95u + block);
      }
      run_block(lease.worker(), {block % grid.x, block / grid.x % grid.y, block / grid.x / grid.y});
    }
  };

  const int limit = settings.workers > 0 ? std::min(settings.workers, kMaxWorkers) : kMaxWorkers;
  if (tsan::kEnabled || limit == 1 || blocks == 1) {
    run_blocks(0, blocks);
    return;
  }
  const auto run_parallel = [&] {
    tbb::parallel_for(tbb::blocked_range<std::uint64_t>(0, blocks),
                      [&](const auto& range) { run_blocks(range.begin(), range.end()); });
  };
  if (tbb::this_task_arena::max_concurrency() <= limit) {
    run_parallel();
  } else {
    tbb::task_arena(limit).execute(run_parallel);
  }
}

Stats stats() {
  const std::lock_guard lock(g_collected_mutex);
  return g_stats;
}

void reset_stats() {
  const std::lock_guard lock(g_collected_mutex);
  g_stats = {};
}

std::vector<Site> barrier_sites_seen() {
  const std::lock_guard lock(g_collected_mutex);
  return {g_sites.begin(), g_sites.end()};
}

void forget_barrier_sites() {
  const std::lock_guard lock(g_collected_mutex);
  g_sites.clear();
}

std::unique_lock<std::mutex> lock_atomics() { return std::unique_lock(g_atomics_mutex); }

}  // namespace assay::simt::on_host::host
