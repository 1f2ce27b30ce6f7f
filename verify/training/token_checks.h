// What per-token losses of the three sets can say, beside the code-length test.
#pragma once

#include "verify/training/finding.h"

namespace assay::verify::training {

// Logits of a live model that move with the labels alone.
Finding label_check(const Evidence& evidence);

// Probabilities that do not sum to 1: sums given, log p of a whole vocabulary, a loss below 0.
Finding normalisation(const Evidence& evidence);

// Per-token losses against those that the logits give.
Finding recomputed_loss(const Evidence& evidence);

// Which l(k) the reported loss is.
Finding offset_check(const Evidence& evidence, std::optional<OffsetProfile>& profile);

// NaN or infinite losses; the training set's mean above log V + 0.5.
Finding token_divergence(const Evidence& evidence);

// Exact zeros everywhere; an output that does not depend on the position; the unigram's level.
Finding token_degenerate(const Evidence& evidence);

// Of a set: mean loss, and mean loss - oracle. Nothing where it has none.
std::optional<Mean> mean_loss(const TokenSet& set);
std::optional<Mean> mean_excess(const TokenSet& set);

// x_fr - x_tr at 4.9 SE beyond max(0.05, 0.02 x oracle); without an oracle or a fresh set the
// losses themselves, and val.
Finding token_gap(const Evidence& evidence, std::optional<Mean>& gap);

// c = x_fr - x_va at 6 SE, more where val has chosen among K checkpoints.
Finding contamination(const Evidence& evidence);

// Nats over the oracle on fresh tokens, at 4.9 SE beyond 0.05.
Finding excess_check(const Evidence& evidence);

// Bits that were gained over the oracle on the training set against what P parameters can hold.
Finding counting_bound(const Evidence& evidence);

// log2 of the number of candidates - log2 of the rank, of planted canaries among those never shown.
Finding canary_exposure(const Evidence& evidence);

}  // namespace assay::verify::training
