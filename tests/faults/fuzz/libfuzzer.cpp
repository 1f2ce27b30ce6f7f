// The entry of libFuzzer for one target, which ASSAY_FUZZ_TARGET names. Seeds go to the folder that
// the environment variable ASSAY_FUZZ_SEEDS names, if it does.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "tests/faults/fuzz/targets.h"
#include "tests/golden/sample.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* folder = std::getenv("ASSAY_FUZZ_SEEDS");
  if (folder == nullptr) return 0;
  int number = 0;
  for (const std::string& seed : assay::fuzz::target(ASSAY_FUZZ_TARGET).seeds()) {
    assay::golden::sample::put_bytes(folder + ("/seed-" + std::to_string(number++)), seed);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t bytes) {
  static const assay::fuzz::Target& target = assay::fuzz::target(ASSAY_FUZZ_TARGET);
  assay::fuzz::accepts(target, {reinterpret_cast<const char*>(data), bytes});
  return 0;
}
