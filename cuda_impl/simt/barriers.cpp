// __syncthreads, __syncwarp and the warp collectives: counted arrivals, diagnosed misuse.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "cuda_impl/simt/worker.h"

namespace assay::simt::on_host::host {
namespace {

bool same_site(const Loc& a, const Loc& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

// Whether `path` ends in `suffix`, beginning at a whole component.
bool path_ends_in(const char* path, const std::string& suffix) {
  const std::size_t length = std::strlen(path);
  if (length < suffix.size() || suffix.compare(path + length - suffix.size()) != 0) return false;
  return length == suffix.size() || path[length - suffix.size() - 1] == '/' || suffix[0] == '/';
}

// Records the barrier, and tells whether it is to be dropped. Runs on a device thread: allocates
// nothing.
bool is_skipped(Worker& worker, const Loc& site) {
  const Config& config = *worker.config;
  if (!config.skip_file.empty() && site.line() == config.skip_line &&
      path_ends_in(site.file_name(), config.skip_file)) {
    ++worker.stats.skipped_barriers;
    return true;
  }
  const auto is_site = [&](const Loc& seen) { return same_site(seen, site); };
  if (config.record_sites && std::none_of(worker.sites.begin(), worker.sites.end(), is_site)) {
    if (worker.sites.size() == worker.sites.capacity())
      fail("more barrier sites than can be recorded");
    worker.sites.push_back(site);
  }
  return false;
}

void release_barrier(Worker& worker) {
  worker.arrived = 0;
  ++worker.stats.block_barriers;
  in_order(worker, 0, worker.lane_count, [&](unsigned lane) { make_ready(worker, lane); });
}

// The last lane of the mask has arrived: every lane must have come for the same collective.
void check_collective(const Worker& worker, const Lane& last, unsigned base) {
  for (unsigned i = 0; i < kWarp; ++i) {
    if (!(last.mask >> i & 1u)) continue;
    const Lane& other = worker.lanes[base + i];
    if (other.mask == last.mask && other.fn == last.fn && same_site(other.site, last.site))
      continue;
    fail("divergent warp collective: " + describe(last) + " is at " + describe(last.site) +
         " with mask " + hex(last.mask) + ", " + describe(other) + " at " + describe(other.site) +
         " with mask " + hex(other.mask));
  }
}

// Runs the collective for all its lanes and makes them runnable.
void complete_collective(Worker& worker, const Lane& last, unsigned base) {
  const unsigned mask = last.mask;
  void* requests[kWarp] = {};
  const auto each = [&](auto visit) {
    for (unsigned i = 0; i < kWarp; ++i) {
      if (mask >> i & 1u) visit(i);
    }
  };
  each([&](unsigned i) { requests[i] = worker.lanes[base + i].request; });
  if (tsan::kEnabled) each([&](unsigned i) { tsan::acquire(&worker.sync->arrive[base + i]); });
  if (last.fn != nullptr) last.fn(requests, mask);
  if (tsan::kEnabled) each([&](unsigned i) { tsan::release(&worker.sync->depart[base + i]); });
  ++worker.stats.warp_collectives;
  in_order(worker, 0, kWarp, [&](unsigned i) {
    if (mask >> i & 1u) make_ready(worker, base + i);
  });
}

}  // namespace

std::string describe(const Lane& lane) {
  char text[128];
  std::snprintf(text, sizeof text, "thread (%u,%u,%u) of block (%u,%u,%u)", lane.thread_idx.x,
                lane.thread_idx.y, lane.thread_idx.z, blockIdx.x, blockIdx.y, blockIdx.z);
  return text;
}

std::string describe(const Loc& site) {
  return std::string(site.file_name()) + ":" + std::to_string(site.line());
}

std::string hex(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

void fail(const std::string& what) { throw Error(what); }

void sync_block(const Loc& loc) {
  Worker& worker = *this_worker;
  if (worker.inspects_barriers && is_skipped(worker, loc)) [[unlikely]]
    return;
  Lane* self = worker.current;
  if (worker.arrived != 0 && !same_site(worker.barrier_site, loc)) {
    fail("divergent barrier: " + describe(*self) + " is at __syncthreads " + describe(loc) +
         ", others are at " + describe(worker.barrier_site));
  }
  if (worker.alive != worker.lane_count) {
    fail("divergent barrier: " + describe(*self) + " is at __syncthreads " + describe(loc) + ", " +
         std::to_string(worker.lane_count - worker.alive) + " threads have returned");
  }
  self->state = LaneState::at_barrier;
  self->site = worker.barrier_site = loc;
  auto* const sync =
      tsan::kEnabled ? &worker.sync->barrier[worker.stats.block_barriers & 1u] : nullptr;  // rule 1
  tsan::release(sync);
  if (++worker.arrived == worker.lane_count) release_barrier(worker);
  yield_from(worker, self);
  tsan::acquire(sync);
}

void sync_warp(unsigned mask, WarpFn fn, void* request, const Loc& loc) {
  Worker& worker = *this_worker;
  if (worker.inspects_barriers && fn == nullptr && is_skipped(worker, loc)) [[unlikely]]
    return;
  Lane* self = worker.current;
  const unsigned warp = self->id / kWarp;
  const unsigned base = warp * kWarp;
  const unsigned lanes = worker.lane_count - base;
  const unsigned existing = lanes >= kWarp ? kFullMask : (1u << lanes) - 1u;
  const unsigned bit = 1u << (self->id - base);
  if (fn == nullptr) mask &= existing;  // __syncwarp() in a last warp that is not full
  if ((mask & bit) == 0) {
    fail("wrong warp mask: " + describe(*self) + " at " + describe(loc) +
         " is not in its own mask " + hex(mask));
  }
  if ((mask & ~existing) != 0) {
    fail("wrong warp mask: " + describe(*self) + " at " + describe(loc) + " with mask " +
         hex(mask) + " names lanes beyond the block of " + std::to_string(worker.lane_count) +
         " threads");
  }
  self->state = LaneState::in_warp;
  self->site = loc;
  self->fn = fn;
  self->request = request;
  self->mask = mask;
  if (tsan::kEnabled) tsan::release(&worker.sync->arrive[self->id]);
  unsigned& waiting = worker.warp_waiting[warp];
  waiting |= bit;
  if ((waiting & mask) == mask) {
    check_collective(worker, *self, base);
    waiting &= ~mask;
    complete_collective(worker, *self, base);
  }
  yield_from(worker, self);
  if (tsan::kEnabled) tsan::acquire(&worker.sync->depart[self->id]);
}

unsigned lane_id() { return this_worker->current->id % kWarp; }

void fence() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  static char everywhere;  // modelled as an acquire and release of one object by all threads
  tsan::acquire(&everywhere);
  tsan::release(&everywhere);
}

}  // namespace assay::simt::on_host::host
