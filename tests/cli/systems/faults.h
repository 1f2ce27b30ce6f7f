// Faults in the midst of other work: what is wrong is said, and nobody else hears of it.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "golden/contract/config.h"

namespace assay::systems_test {

using FaultRandom = std::mt19937_64;

inline int64_t drawn(FaultRandom& random, int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random);
}

// A small model of some method; every second one has a window.
golden::ModelConfig drawn_config(FaultRandom& random);
std::vector<int32_t> drawn_prompt(FaultRandom& random, const golden::ModelConfig& config,
                                  int64_t most);

// A server on `backend` ("reference", "reference:left", "simt") with requests of other people. The
// fault may not change a bit of their logits. "" or the problem.
const std::vector<std::string>& served_faults();
std::string problem_of_served(const std::string& fault, const std::string& backend, uint64_t seed);

// A batch of streams, in the reference or the engine's decoder ("simt").
const std::vector<std::string>& streamed_faults();
std::string problem_of_streamed(const std::string& fault, const std::string& backend,
                                uint64_t seed);

}  // namespace assay::systems_test
