#include "reference/numbers/rounded.h"

#include "golden/contract/random.h"

namespace assay::reference {
namespace {

// Uniform in [0, 1): element `draws` of the row's stream, four to a block of Philox.
double uniform(RoundingState& state) {
  if (state.draws % 4 == 0) {
    const uint64_t block = state.draws / 4;
    state.words = golden::philox4x32(
        {static_cast<uint32_t>(block), static_cast<uint32_t>(state.row),
         static_cast<uint32_t>(state.row >> 32), state.rule.node},
        {static_cast<uint32_t>(state.rule.seed), static_cast<uint32_t>(state.rule.seed >> 32)});
  }
  return state.words[state.draws++ % 4] * 0x1p-32;
}

}  // namespace

RoundingState& rounding_state() {
  thread_local RoundingState state;
  return state;
}

double round_here(golden::Precision precision, double x) {
  using golden::Precision;
  if (precision == Precision::fp64) return x;
  RoundingState& state = rounding_state();
  if (!state.rule.stochastic) {
    return precision == Precision::fp32 ? static_cast<float>(x) : golden::round_to(precision, x);
  }
  const double step = golden::spacing(precision, x);
  if (!std::isfinite(x) || step == 0) return x;
  const double below = std::floor(x / step), part = x / step - below;
  // What is representable draws nothing, so a value that is exact stays exact.
  const double up = part > 0 && uniform(state) < part ? 1 : 0;
  return golden::round_to(precision, (below + up) * step);
}

}  // namespace assay::reference
