#include "reference/training/dropout.h"

#include <vector>

#include "golden/contract/random.h"

namespace assay::reference {

void dropout_mask(const Dropout& dropout, int64_t step, const std::string& branch, uint64_t first,
                  std::span<double> mask) {
  const uint64_t lead = first % 4;  // words are drawn from a multiple of 4 on
  std::vector<uint32_t> words(mask.size() + lead);
  const uint64_t stream = golden::stream_id("step/" + std::to_string(step) + "/" + branch);
  golden::random_words(dropout.seed, stream, first - lead, words);
  const double scale = 1 / (1 - dropout.rate);
  for (std::size_t i = 0; i < mask.size(); ++i) {
    mask[i] = words[i + lead] >= dropout.rate * 0x1p32 ? scale : 0;
  }
}

}  // namespace assay::reference
