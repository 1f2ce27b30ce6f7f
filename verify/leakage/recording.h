// One run of a subject, kept, and what another run changed against it.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "golden/contract/names.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// How one tensor differs from the recorded run.
struct Difference {
  std::size_t index = 0;  // of the tensor in the recording
  bool any = false;
  std::vector<uint8_t> rows;  // [B,T], 1 where position t of row b changed; empty without a T axis
};

class Recording {
 public:
  Recording(Subject& subject, const golden::ModelConfig& config, const Batch& batch);

  std::size_t tensors() const { return tensors_.size(); }
  const std::string& name(std::size_t index) const { return tensors_[index].name; }
  int64_t elements() const;  // of all tensors with positions

  // Runs the subject again and compares every tensor bit by bit, -0 and NaN payloads included.
  // Throws InputError if it hands over other tensors than the first time.
  std::vector<Difference> differences(Subject& subject, const Batch& batch) const;

 private:
  Difference compare(std::size_t index, const golden::Tensor& again) const;

  int64_t batch_, positions_;
  std::vector<Observed> tensors_;
  std::vector<std::string> axes_;  // "" where the name is not in the model's list
};

}  // namespace assay::verify
