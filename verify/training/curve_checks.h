// What a curve alone can say.
#pragma once

#include "verify/training/finding.h"

namespace assay::verify::training {

// NaN or infinite at the end; a late training loss above log V + 0.5 that is not falling; a
// training loss that rose from its level and stayed (CUSUM); gradient norms beyond 10 x their
// running median for 3 steps, with the loss; a loss scale below 1. What recovers is noted.
Finding curve_divergence(const Curve& curve, std::optional<int64_t> vocab);

// Loss or gradient norm exactly 0, where the numbers are not rounded; a loss that never moves.
Finding curve_degenerate(const Curve& curve);

// Late val loss above late training loss. `positions`: T, for what may be scaled by (T-1)/T.
Finding curve_gap(const Curve& curve, std::optional<int64_t> positions);

// Val loss above its own minimum while the training loss did not rise.
Finding val_rise(const Curve& curve);

// Whether val still falls at the end of the curve, so that it may come yet.
bool val_still_falls(const Curve& curve);

// In a first epoch each batch's loss before its own update is a legal factor of the code-length
// test: sum over steps of tokens x (log of the oracle's 1/p - loss). Needs an oracle that gives
// every token the same probability. A fired finding names the step.
Finding prequential(const Evidence& evidence, double threshold);

// Late val loss below the oracle: impossible for a causal model that has not seen val.
Finding curve_below_oracle(const Evidence& evidence);

// Late val loss above the oracle by more than 0.1 and its noise.
Finding curve_above_oracle(const Evidence& evidence);

}  // namespace assay::verify::training
