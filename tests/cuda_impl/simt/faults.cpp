// simt_faults NAME..: runs kernels one after the other, each with a planted fault, which ASan,
// UBSan or TSan is expected to report.
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "racy_kernels.h"

namespace simt = assay::simt;
using namespace assay::racy;

namespace {

__global__ void none(float* out) {
  SIMT_SHARED(float, s, kThreads);
  const unsigned t = threadIdx.x;
  s[t] = static_cast<float>(t);
  __syncthreads();
  const float upper = s[(t + 1) % kThreads];
  __syncthreads();  // everyone has read; s is written again
  s[t] = simt::warp_sum(upper);
  __syncwarp();
  if (blockIdx.x == 0) out[t] = s[t ^ 1u];
}

__global__ void static_index_past_end(float* out) {
  SIMT_SHARED(float, s, 64);
  const unsigned t = threadIdx.x % 64;
  s[t + (t == 63)] = 1.0f;
  out[t] = s[t];
}
__global__ void static_pointer_past_end(float* out) {
  SIMT_SHARED(float, s, 64);
  float* p = s;
  const unsigned t = threadIdx.x % 64;
  p[t + (t == 63)] = 1.0f;
  out[t] = p[t];
}
__global__ void into_next_take(float* out) {
  simt::Smem smem;
  float* a = smem.take<float>(64);
  float* b = smem.take<float>(64);
  const unsigned t = threadIdx.x % 64;
  b[t] = 0.0f;
  a[t + (t == 63)] = 1.0f;
  out[t] = a[t] + b[t];
}
__global__ void past_last_take(float* out) {
  simt::Smem smem;
  float* a = smem.take<float>(64);
  smem.take<float>(64);
  const unsigned t = threadIdx.x % 64;
  a[t] = 1.0f;
  out[t] = a[t + (t == 63)];
}
__global__ void global_past_end(float* out) { out[threadIdx.x + 1] = 1.0f; }
__global__ void misaligned(float* out) {
  simt::Smem smem;
  char* bytes = smem.take<char>(64);
  auto* f = reinterpret_cast<float*>(bytes + 1);
  *f = 1.0f;
  out[0] = *f;
}
__global__ void int_overflow(float* out) {
  int value = 0x7fffffff - static_cast<int>(threadIdx.x);
  value += 1;
  out[threadIdx.x] = static_cast<float>(value);
}
__global__ void stack_overflow(float* out) {
  volatile char large[1 << 20];
  large[0] = static_cast<char>(threadIdx.x);
  out[threadIdx.x] = large[0];
}

struct Fault {
  const char* name;
  void (*kernel)(float*);
  unsigned blocks = 1;
  std::size_t smem_bytes = 0;
  unsigned threads = kThreads;
};
const Fault kFaults[] = {
    {"none", none, 2},
    {"static_index_past_end", static_index_past_end},
    {"static_pointer_past_end", static_pointer_past_end},
    {"into_next_take", into_next_take, 1, 512},
    {"past_last_take", past_last_take, 1, 512},
    {"global_past_end", global_past_end},
    {"misaligned", misaligned, 1, 64},
    {"int_overflow", int_overflow},
    {"stack_overflow", stack_overflow},
    {"lower_neighbour", lower_neighbour},
    {"upper_neighbour", upper_neighbour},
    {"one_pair", one_pair},
    {"one_publishes", one_publishes},
    {"early_reuse", early_reuse},
    {"warp_for_block", warp_for_block, 1, 0, 64},
    {"block_chain", block_chain, kBlocks, 0, 1},
    {"lost_update", lost_update},
    {"same_value", same_value},
    {"block_counter", block_counter, kBlocks, 0, 1},
    {"block_counter_after_barrier", block_counter_after_barrier, kBlocks, 0, 32},
    {"plain_scatter", plain_scatter},
};

}  // namespace

namespace {

void run(const Fault& fault) {
  simt::Buffer<float> out(kThreads);
  out.zero();
  simt::launch(fault.name, fault.kernel, dim3(fault.blocks), dim3(fault.threads), fault.smem_bytes,
               nullptr, out.get());
  std::vector<float> values;
  out.to(values);
}

// Runs the clean kernel without the barrier that comes at place `index` in the file.
void run_without_barrier(std::size_t index) {
  simt::host::config().record_sites = true;
  run(kFaults[0]);
  const simt::host::Site site = simt::host::barrier_sites_seen().at(index);
  simt::host::config().skip_file = site.file;
  simt::host::config().skip_line = site.line;
  run(kFaults[0]);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 3 && std::strcmp(argv[1], "dropped_barrier") == 0) {
      run_without_barrier(std::stoul(argv[2]));
      std::printf("dropped_barrier: nothing reported\n");
      return 0;
    }
    int known = 0;
    for (int i = 1; i < argc; ++i) {
      for (const Fault& fault : kFaults) {
        if (std::strcmp(argv[i], fault.name) != 0) continue;
        run(fault);
        std::printf("%s: nothing reported\n", fault.name);
        ++known;
      }
    }
    if (argc > 1 && known == argc - 1) return 0;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
  std::printf(
      "usage: simt_faults NAME.., each of the table in faults.cpp, or simt_faults "
      "dropped_barrier N\n");
  return 2;
}
