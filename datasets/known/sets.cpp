#include "datasets/known/sets.h"

#include "golden/contract/random.h"
#include "golden/file/hasher.h"

namespace assay::datasets {
namespace {

// 53 bits of two words, in [0,1).
double unit(uint32_t high, uint32_t low) {
  return (static_cast<double>(high >> 5) * 67108864.0 + static_cast<double>(low >> 6)) /
         9007199254740992.0;
}

}  // namespace

std::vector<int32_t> draw_rows(const Law& law, const std::string& set, uint64_t seed, int64_t rows,
                               int64_t positions) {
  std::vector<int32_t> tokens;
  tokens.reserve(static_cast<std::size_t>(rows * positions));
  std::vector<uint32_t> words(static_cast<std::size_t>(2 * positions));
  for (int64_t row = 0; row < rows; ++row) {
    const uint64_t stream = golden::stream_id("data/" + set + "/" + std::to_string(row));
    golden::random_words(seed, stream, 0, words);
    const std::unique_ptr<Predictor> predictor = law.begin();
    for (std::size_t t = 0; t < static_cast<std::size_t>(positions); ++t) {
      const int32_t token = predictor->quantile(unit(words[2 * t], words[2 * t + 1]));
      tokens.push_back(token);
      predictor->observe(token);
    }
  }
  return tokens;
}

std::string seed_commitment(uint64_t seed) {
  const std::string text = "assay fresh seed " + std::to_string(seed);
  return golden::hash_hex(text.data(), text.size());
}

}  // namespace assay::datasets
