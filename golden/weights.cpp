#include "golden/weights.h"

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "golden/error.h"
#include "golden/random.h"

namespace assay::golden {
namespace {

struct Range {
  double center = 0;
  double half_width = 0;  // sqrt(3) standard deviations
};

Range range_of(const TensorInfo& weight) {
  if (weight.shape.size() == 1) return {1.0, 0.5};  // a norm gain
  if (weight.name == "model.embed_tokens.weight") return {0.0, std::sqrt(3.0)};
  const bool scores = weight.name.find("q_proj") != std::string::npos ||
                      weight.name.find("k_proj") != std::string::npos;
  const double gain = scores ? 1.25 : 1.0;
  return {0.0, gain * std::sqrt(3.0 / static_cast<double>(weight.shape[1]))};
}

}  // namespace

SyntheticWeights::SyntheticWeights(const ModelConfig& config, uint64_t seed)
    : list_(weight_list(config)), seed_(seed) {}

void SyntheticWeights::read(const std::string& name, std::span<double> out) const {
  const auto weight =
      std::find_if(list_.begin(), list_.end(), [&](const TensorInfo& w) { return w.name == name; });
  if (weight == list_.end()) {
    throw InputError(fmt::format("weight {}: this model has no such weight", name));
  }
  if (element_count(weight->shape) != static_cast<int64_t>(out.size())) {
    throw InputError(fmt::format("weight {}: expected {}, got {} elements", name,
                                 shape_text(weight->shape), out.size()));
  }
  const Range range = range_of(*weight);
  const uint64_t stream = stream_id(name);
  constexpr std::size_t kChunk = 4096;
  const std::size_t chunks = (out.size() + kChunk - 1) / kChunk;
  tbb::parallel_for(std::size_t{0}, chunks, [&](std::size_t chunk) {
    const std::size_t first = chunk * kChunk, count = std::min(kChunk, out.size() - first);
    std::array<uint32_t, kChunk> words;
    random_words(seed_, stream, first, {words.data(), count});
    for (std::size_t i = 0; i < count; ++i) {
      const double centered = (words[i] + 0.5) * 0x1p-31 - 1.0;  // in (-1, 1), exact
      out[first + i] = round_to_bf16(range.center + range.half_width * centered);
    }
  });
}

std::vector<int32_t> synthetic_tokens(int64_t vocab_size, int64_t batch, int64_t positions,
                                      uint64_t seed) {
  std::vector<uint32_t> words(static_cast<std::size_t>(batch * positions));
  random_words(seed, stream_id("tokens"), 0, words);
  std::vector<int32_t> tokens(words.size());
  for (std::size_t i = 0; i < words.size(); ++i) {
    // The high half of word * V is below V and as uniform as 32 bits allow.
    tokens[i] = static_cast<int32_t>(
        (static_cast<uint64_t>(words[i]) * static_cast<uint64_t>(vocab_size)) >> 32);
  }
  return tokens;
}

}  // namespace assay::golden
