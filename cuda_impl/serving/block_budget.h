// A model whose memory for caches is a number of blocks of positions, shared by its slots: a
// request takes blocks for its own length, not for the longest there may be.
#pragma once

#include <vector>

#include "cuda_impl/serving/step_model.h"

namespace assay::serving {

struct BlockOptions {
  int64_t blocks = 0;      // in all
  int64_t positions = 16;  // of a block
};

// Wraps a model, which outlives it.
class BlockBudget : public StepModelWrapper {
 public:
  // Throws InputError for less than one block of one position.
  BlockBudget(StepModel& model, const BlockOptions& options);
  int64_t capacity() const override;  // also what all blocks hold
  bool reserve(int64_t slot, int64_t positions) override;
  void release(int64_t slot) override;
  bool shares_room() const override { return false; }

  int64_t free_blocks() const { return free_; }
  int64_t most_used() const { return most_used_; }
  int64_t refusals() const { return refusals_; }  // of reserve()

 private:
  BlockOptions options_;
  int64_t free_, most_used_ = 0, refusals_ = 0;
  std::vector<int64_t> held_;  // [slots]
};

}  // namespace assay::serving
