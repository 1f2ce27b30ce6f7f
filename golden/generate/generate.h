// Golden data: evaluates the reference and writes every named tensor to a golden file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "golden/contract/weights.h"
#include "golden/file/golden_file.h"
#include "golden/generate/calibration.h"

namespace assay::golden {

// Raised with every change of the reference that alters a value of a golden file: files made before
// it are not up to date.
inline constexpr int kGoldenVersion = 2;

struct GenerateRequest {
  ModelConfig config;
  uint64_t seed = 1;
  int64_t batch = 1;
  int64_t positions = 0;
  std::vector<int32_t> tokens;            // [B,T]
  std::vector<uint8_t> attention_mask;    // [B,T]; empty: no padding
  std::vector<int32_t> labels;            // [B,T]; empty: the tokens, -100 where padded, or
                                          // for a masked language model mask_tokens
  const WeightSource* weights = nullptr;  // null: SyntheticWeights(config, seed)
  bool store_weights = false;             // also where only hashes are captured
  std::string recipe;                     // recipe_hash of a suite's case, for the provenance
  std::optional<int64_t> weight_memory;   // bytes of weights held as doubles; empty: no limit
  std::string weights_origin;             // CheckpointWeights::contents(), for the provenance
  Capture capture = Capture::full;
  bool gradients = false;   // also every gradient of the loss, below /grad
  bool dependence = false;  // also what every tensor can depend on, below /dependence
  CalibrationRequest calibration;
  std::string out;
  bool force = false;  // replace an existing file
  // Called after each named tensor with how many of how many are done; may be empty.
  std::function<void(int64_t done, int64_t total)> progress;
};

struct GenerateResult {
  std::string root_hash;
  int64_t tensors = 0;
  double loss = 0;
  int64_t nonfinite = 0;        // tensors that hold NaN or infinities, -inf of a mask excepted
  std::string first_nonfinite;  // of them, in order of computation
  uint64_t bytes_written = 0;
  double write_seconds = 0;  // in HDF5 and the final sync
  double total_seconds = 0;
};

// Throws InputError for a request that does not fit (lengths, tokens out of range, the file's
// place) before anything is computed, and for a weight that is not finite, by name.
GenerateResult generate(const GenerateRequest& request);

}  // namespace assay::golden
