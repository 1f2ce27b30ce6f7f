// Are these tokens the oracle's at all? With a wrong oracle every good model would seem to leak.
#pragma once

#include <string>

#include "verify/training/evidence.h"

namespace assay::verify::training {

// "" where nothing speaks against it, else what does: tokens that cannot be; -log p further from
// its expectation than 7 standard deviations (where that is known); or a coder that counts tokens
// after contexts of 0 to 3 as it goes gains 20 nats over the oracle, which none can but with
// probability e^-20. The coder may have learned from `known`, tokens that are not in the set.
std::string oracle_problem(const TokenSet& set, const TokenSet* known = nullptr);

// Whether the losses go with the oracle of a neighbour rather than with their own: by correlation,
// where the oracle varies. "" or what is wrong.
std::string alignment_problem(const TokenSet& set);

// What tokens themselves say, without an oracle.
struct TokenStatistics {
  int64_t tokens = 0;
  double unigram_entropy = 0;  // nats, corrected for what few tokens miss (Miller and Madow)
  double pair_gain = 0;  // nats a token that the coder of pairs gains over that of frequencies
};
TokenStatistics token_statistics(const TokenSet& set);

}  // namespace assay::verify::training
