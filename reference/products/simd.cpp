#include "reference/products/simd.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#include "reference/products/kernels.h"
#include "reference/products/products.h"

namespace assay::reference {
namespace {

Simd simd_from_environment() {
  if (const char* name = std::getenv("ASSAY_SIMD"); name != nullptr && *name != '\0') {
    return parse_simd(name);
  }
  if (simd_available(Simd::avx512)) return Simd::avx512;
  return simd_available(Simd::avx2) ? Simd::avx2 : Simd::scalar;
}

std::atomic<Simd>& active() {
  static std::atomic<Simd> simd{simd_from_environment()};
  return simd;
}

const Kernel& kernel_of(Simd simd) {
  switch (simd) {
    case Simd::avx512:
      return avx512_kernel();
    case Simd::avx2:
      return avx2_kernel();
    case Simd::scalar:
      break;
  }
  return scalar_kernel();
}

}  // namespace

bool simd_available(Simd simd) {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (simd == Simd::avx2) return avx2;
  if (simd == Simd::avx512) return avx2 && __builtin_cpu_supports("avx512f");
#endif
  return simd == Simd::scalar;
}

Simd parse_simd(const std::string& name) {
  for (const Simd simd : {Simd::avx512, Simd::avx2, Simd::scalar}) {
    if (name != kernel_of(simd).name) continue;
    if (simd_available(simd)) return simd;
    throw std::invalid_argument("ASSAY_SIMD=" + name + ": this CPU does not have it; unset it");
  }
  throw std::invalid_argument("ASSAY_SIMD=" + name +
                              ": no such instruction set: expected avx512, avx2 or scalar");
}

Simd active_simd() { return active().load(std::memory_order_relaxed); }

void select_simd(Simd simd) { active() = parse_simd(kernel_of(simd).name); }

const Kernel& active_kernel() { return kernel_of(active_simd()); }

const char* simd_name() { return active_kernel().name; }

}  // namespace assay::reference
