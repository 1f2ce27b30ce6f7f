// Random streams beside the forward pass over the whole sequences: a model, its window, sequences
// of different lengths, cut at random and appended in random company.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "reference/streaming/streamed_model.h"

namespace assay::reference::testing {

struct StreamCase {
  golden::ModelConfig config;
  StreamOptions options;
  uint64_t seed = 0;                         // of weights, tokens and cuts
  std::vector<std::vector<int32_t>> tokens;  // of each sequence
  std::vector<std::vector<uint8_t>> real;    // of each token: 0 is padding
  std::string title() const;
};

// Every method, block, family and form that streams, and causal Probabilistic Transformers.
std::vector<golden::ModelConfig> streamed_configs();

// Case `index` of a campaign: a pure function of (seed, index), configs in turn.
StreamCase stream_case(uint64_t seed, int64_t index);

// Logits of every sequence [T,V], each by a forward pass of its own over the whole of it.
std::vector<std::vector<double>> whole_passes(const StreamCase& one);

// The same from one streamed model; pieces are drawn from `cuts`, alone and several at once. With
// `again` sequence 0 is reset and run a second time at the end.
std::vector<std::vector<double>> streamed(const StreamCase& one, uint64_t cuts, bool again);

// "" where both agree bit for bit at every position, else the first that does not.
std::string difference(const StreamCase& one, const std::vector<std::vector<double>>& whole,
                       const std::vector<std::vector<double>>& stream);

}  // namespace assay::reference::testing
