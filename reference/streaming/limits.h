// How far a stream's queries see, and how long it may be: what streamed_model.cpp asks of a config
// and of options.
#pragma once

#include <cstdint>
#include <string>

#include "golden/contract/config.h"
#include "reference/streaming/streamed_model.h"

namespace assay::reference {

inline constexpr int64_t kExact = int64_t{1} << 53;  // whole numbers up to it are doubles

// W, and the sinks beside it; 0 where some layer sees every earlier position. The extremes of
// dynamic windows are carried on from the position before, which is held for that.
struct Reach {
  int64_t window = 0, sinks = 0;
};

Reach reach_of(const golden::ModelConfig& config);
// The same of the layers that have a fixed window, where others have none; else nothing.
Reach partial_reach_of(const golden::ModelConfig& config);

// Positions that the parameters are for, and which parameters say so.
struct Parameters {
  int64_t positions = kExact;
  std::string what = "2^53, up to which a position is a double";
};

Parameters parameters_of(const golden::ModelConfig& config);

// Options with their defaults. Throws InputError, with the reason, for those that cannot be, and
// for a config that does not stream.
StreamOptions settled(const golden::ModelConfig& config, StreamOptions options);

}  // namespace assay::reference
