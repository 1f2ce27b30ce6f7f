#include "cuda_impl/serving/block_budget.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"

namespace assay::serving {

BlockBudget::BlockBudget(StepModel& model, const BlockOptions& options)
    : StepModelWrapper(model),
      options_(options),
      free_(options.blocks),
      held_(static_cast<std::size_t>(model.slots()), 0) {
  if (options.blocks >= 1 && options.positions >= 1) return;
  throw InputError(
      fmt::format("cache blocks: expected at least 1 of at least 1 position, got {} of "
                  "{}",
                  options.blocks, options.positions));
}

int64_t BlockBudget::capacity() const {
  const int64_t whole = model_.capacity();
  const bool all_fit = options_.blocks > whole / options_.positions;
  return all_fit ? whole : std::min(whole, options_.blocks * options_.positions);
}

bool BlockBudget::reserve(int64_t slot, int64_t positions) {
  int64_t& held = held_.at(static_cast<std::size_t>(slot));
  ASSAY_CHECK(held == 0, fmt::format("slot {} holds {} blocks", slot, held));
  const int64_t blocks = positions / options_.positions + (positions % options_.positions != 0);
  if (blocks > free_ || !model_.reserve(slot, positions)) {
    ++refusals_;
    return false;
  }
  held = blocks;
  free_ -= blocks;
  most_used_ = std::max(most_used_, options_.blocks - free_);
  return true;
}

void BlockBudget::release(int64_t slot) {
  model_.release(slot);
  int64_t& held = held_.at(static_cast<std::size_t>(slot));
  free_ += held;
  held = 0;
}

}  // namespace assay::serving
