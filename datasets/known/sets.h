// Sets of rows that are drawn from a law: train, val, fresh.
//
// Row b of a set is a pure function of the law, the seed, the set's name and b: its uniform numbers
// are the stream "data/<set>/<b>" (golden/contract/random.h), two words a token. The fresh set is
// to be drawn after training from a seed of which only the hash was known before.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "datasets/known/law.h"

namespace assay::datasets {

// [rows, positions]
std::vector<int32_t> draw_rows(const Law& law, const std::string& set, uint64_t seed, int64_t rows,
                               int64_t positions);

// XXH3-128 of "assay fresh seed <seed>": to be written down before training. It guards against a
// mix-up of sets, not against somebody who tries all seeds.
std::string seed_commitment(uint64_t seed);

}  // namespace assay::datasets
