// The laws, one file a family. Internal: parse_law chooses.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "datasets/known/law.h"
#include "datasets/known/settings.h"

namespace assay::datasets {

inline constexpr int64_t kMostVocabulary = int64_t{1} << 20;

std::unique_ptr<Law> make_uniform(Settings& settings);
std::unique_ptr<Law> make_canaries(Settings& settings);
std::unique_ptr<Law> make_copy(Settings& settings);
std::unique_ptr<Law> make_induction(Settings& settings);
std::unique_ptr<Law> make_markov(Settings& settings);
std::unique_ptr<Law> make_hidden_markov(Settings& settings);
std::unique_ptr<Law> make_brackets(Settings& settings);

struct MixturePart {
  double weight = 1;
  std::unique_ptr<Law> law;
};
// The weights sum to 1.
std::unique_ptr<Law> make_mixture(std::vector<MixturePart> parts);

}  // namespace assay::datasets
