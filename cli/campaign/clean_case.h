// Random clean cases: models, batches and subjects on which no judge may raise an alarm.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/precision.h"
#include "golden/contract/weights.h"

namespace assay::cli {

struct CleanCase {
  golden::ModelConfig config;
  int64_t batch = 1, positions = 1;
  uint64_t seed = 1;                    // of weights and tokens
  double peak = 1;                      // factor on what queries and keys are made with
  std::vector<uint8_t> attention_mask;  // [B,T]
  std::string padding;                  // of each row: "left 3, none"
  std::string subject;                  // a spelling of the table of subjects
  golden::Precision precision = golden::Precision::fp32;
  bool leakage = false;  // the detectors look at it too

  std::string text() const;  // one line
};

// Case `index` of a seed: the same wherever it is drawn. Methods, blocks, shapes, padding, windows,
// options, precisions and subjects vary; peak is a power of two of at most `largest_peak`, as large
// as trained attention has it.
CleanCase draw_case(uint64_t seed, uint64_t index, double largest_peak);

// Weights drawn from the case's seed, queries and keys times its peak: still bfloat16.
class PeakedWeights : public golden::WeightSource {
 public:
  explicit PeakedWeights(const CleanCase& c);
  void read(const std::string& name, std::span<double> out) const override;

 private:
  golden::SyntheticWeights drawn_;
  double peak_;
  int64_t query_key_columns_, columns_;  // of GPT-2's c_attn
};

}  // namespace assay::cli
