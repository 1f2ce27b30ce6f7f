// Where the sources of known probabilities meet the judge of training runs.
#pragma once

#include <array>
#include <string>

#include "verify/training/evidence.h"
#include "verify/training/readers/token_sets.h"

namespace assay::cli {

using AlignedSets = std::array<verify::training::AlignedSet, 3>;  // by Set

// The law's probabilities of every set whose tokens are known, its rate, vocabulary and kind. Where
// rows begin inside of sequences, their beginnings are left out if the law forgets.
void give_law(const std::string& text, AlignedSets& sets, verify::training::Evidence& evidence);

// Rows that stand twice, or in train as well, are found and left out; a rate that nobody gave is
// that of the tokens' own oracle.
void finish_sets(AlignedSets& sets, verify::training::Evidence& evidence);

}  // namespace assay::cli
