// What kernels and tests see of the host executor: its settings, its counters, and its entry points
// for host.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <source_location>
#include <string>
#include <vector>

namespace assay::simt {
inline namespace on_host {

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3() = default;
  constexpr dim3(unsigned nx, unsigned ny = 1, unsigned nz = 1) : x(nx), y(ny), z(nz) {}
};

// Rewritten at every switch. Plain thread_local is right because a block never leaves its OS
// thread.
inline constinit thread_local uint3 threadIdx{}, blockIdx{};
inline constinit thread_local dim3 blockDim{}, gridDim{};

namespace host {

using Loc = std::source_location;

// The order in which runnable threads of a block, and the blocks of a grid, take their turns.
enum class Order { forward, reverse, random };

// Read at each launch; not to be changed while one runs. Initial values come from the environment:
// SIMT_ORDER=forward|reverse|random, SIMT_SEED=n, SIMT_WORKERS=n, SIMT_SKIP=file:line.
struct Config {
  Order order = Order::forward;
  std::uint64_t seed = 0;  // of Order::random
  int workers =
      0;  // OS threads: 0 as many as oneTBB gives, 1 only the caller; never above kMaxWorkers
  std::string skip_file = {};  // when not empty, the barrier at skip_line of the file whose path
                               // ends so is dropped
  unsigned skip_line = 0;
  bool record_sites = false;  // collect barrier_sites_seen()
};
inline constexpr int kMaxWorkers =
    16;  // 2 mappings a fiber, 1024 fibers a worker; Linux allows 65530 mappings
Config& config();

struct Stats {
  std::uint64_t blocks, threads, switches, block_barriers, warp_collectives;
  std::uint64_t skipped_barriers;  // calls that Config::skip_file dropped
};
Stats stats();
void reset_stats();

// Source positions of every __syncthreads and __syncwarp that ran while record_sites was set,
// sorted.
struct Site {
  std::string file;
  unsigned line;
  bool operator==(const Site&) const = default;
  auto operator<=>(const Site&) const = default;
};
std::vector<Site> barrier_sites_seen();
void forget_barrier_sites();

// ------------------------------------------------------------------------ entry points for host.h

struct Launch {
  const char* name;
  dim3 grid, block;
  std::size_t smem_bytes;
  void (*run_thread)(void* call);  // runs the kernel once, as the current thread
  void* call;
};
void run_grid(const Launch& launch);

void sync_block(const Loc& loc);

// Each lane named in mask posts a request; the last to arrive runs fn once for all. Without fn it
// is __syncwarp.
using WarpFn = void (*)(void** requests, unsigned mask);
void sync_warp(unsigned mask, WarpFn fn, void* request, const Loc& loc);

unsigned lane_id();
// One array per block and key, which counts `charged` bytes against the device's limit; bytes is at
// most kLargestRatio times that.
inline constexpr std::size_t kLargestRatio = 4;
void* shared_static(const void* key, std::size_t bytes, std::size_t charged);
void* shared_dynamic(std::size_t index, std::size_t bytes);  // the index-th take of the block
void fence();
std::unique_lock<std::mutex>
lock_atomics();  // for read-modify-writes that the machine has no instruction for

[[noreturn]] void fail_shuffle_source(int lane, int source_lane, unsigned mask);
[[noreturn]] void fail_shuffle_width(int width);

}  // namespace host
}  // namespace on_host
}  // namespace assay::simt
