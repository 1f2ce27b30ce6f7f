// What is checked of an engine on a bundled case. Every check says how much it compared; one that
// compared nothing has failed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bundled_case.h"

namespace assay::device_check {

// refused: the engine has nothing for the case, which is no pass.
enum class Status { pass, fail, refused };
const char* status_name(Status status);

struct TensorRow {
  std::string name;
  int64_t elements = 0, outside = 0;
  double ratio = 0;      // largest |error| / bound; above 1 is outside
  std::string why = {};  // of a failure

  bool passed() const { return why.empty(); }
};

struct Check {
  std::string name;  // "free-running", "local", "gradients", "repeat", "prefix", "batch", ..
  std::string case_name, precision;
  Status status = Status::fail;
  std::string summary = {};
  std::vector<TensorRow> rows = {};  // of the checks that have bounds

  int64_t compared() const;
  const TensorRow* worst() const;  // by ratio; nullptr without rows
};

// The engine's own activations against the golden values; every tensor of golden::tensor_list is
// handed over once, in its shape and in numbers of its storage type.
Check check_free(const BundledCase& bundled, cuda::Model& model, golden::Precision precision);

// The same of a model with stacked recomputes, which has no tensors below recompute/.
Check check_stacked(const BundledCase& bundled, cuda::Model& model, golden::Precision precision);

// Every tensor from golden inputs (golden/contract/test_bundle.h).
Check check_local(const BundledCase& bundled, cuda::Model& model, golden::Precision precision);

// A prompt at once, then position by position with caches: the logits behind every chunk against
// the golden ones.
Check check_decode(const BundledCase& bundled, cuda::Model& model, golden::Precision precision);

// The gradient of every weight in fp32.
//
// The judge has no bound for gradients. The one used here counts: a gradient is reached through at
// most n roundings in a row (gradient_roundings), each at most 2^-24 of what it rounds, so its
// error is at most n 2^-24 of the sizes that are added up. Those sizes are taken from the tensor
// itself, as its root mean square. What a method learns of its scores sums the scores' gradients
// over all pairs with both signs, and cancels (C-base's offset to 0): its sizes are those of the
// gradient of the layer's q_proj, which is made of the same terms.
Check check_gradients(const BundledCase& bundled, cuda::Model& model);
int64_t gradient_roundings(const golden::ModelConfig& config, int64_t positions);

// Two runs on one batch agree bit for bit.
Check check_repeat(const BundledCase& bundled, cuda::Model& model);
// For every cut t: tokens at and after t change, no element of a position before t does, in any
// tensor; logits at or after t do.
Check check_prefix(const BundledCase& bundled, cuda::Model& model);
// One row of the batch changes, no element of another row does; logits of the row do.
Check check_batch(const BundledCase& bundled, cuda::Model& model);
// Other labels change the loss and nothing else.
Check check_labels(const BundledCase& bundled, cuda::Model& model);

}  // namespace assay::device_check
