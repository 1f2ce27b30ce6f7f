// The checks of an engine on a bundled case, all but the leak detectors, which are the judge's own
// (verify/leakage/detectors.h). Every check says how much it compared; one that compared nothing
// has failed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/gpu_check/bundled_case.h"
#include "cuda_impl/engine/interface/model.h"
#include "verify/subjects/subject.h"
#include "verify/verdict.h"

namespace assay::gpu_check {

struct TensorRow {
  std::string name;
  int64_t elements = 0, outside = 0;
  double ratio = 0;      // largest |error| / bound; above 1 is outside
  std::string why = {};  // of a failure

  bool passed() const { return why.empty(); }
};

struct CaseCheck {
  std::string case_name, precision;
  verify::Check check;               // "free-running", "local", "gradients", "repeat", "prefix", ..
  std::vector<TensorRow> rows = {};  // of the checks that have bounds

  int64_t compared() const;
  const TensorRow* worst() const;  // by ratio; nullptr without rows
};

// A check of this name that has no verdict yet.
CaseCheck make_check(const std::string& name, const BundledCase& bundled,
                     golden::Precision precision);

// The subject's own activations against the golden values; every tensor of golden::tensor_list that
// it computes is received once, in its shape and in numbers of its storage type.
CaseCheck check_free(const BundledCase& bundled, verify::Subject& subject,
                     golden::Precision precision);

// Every tensor from golden inputs (golden/contract/test_bundle.h).
CaseCheck check_local(const BundledCase& bundled, verify::Subject& subject,
                      golden::Precision precision);

// A prompt at once, then position by position with caches: the logits behind every chunk against
// the golden ones.
CaseCheck check_decode(const BundledCase& bundled, cuda::Model& model, golden::Precision precision);

// The gradient of every weight in fp32.
//
// The judge has no bound for gradients. The one used here counts: a gradient is reached through at
// most n roundings in a row (gradient_roundings), each at most 2^-24 of what it rounds, so its
// error is at most n 2^-24 of the sizes that are added up. Those sizes are taken from the tensor
// itself, as its root mean square. What a method learns of its scores sums the scores' gradients
// over all pairs with both signs, and cancels (C-base's offset to 0): its sizes are those of the
// gradient of the layer's q_proj, which is made of the same terms.
CaseCheck check_gradients(const BundledCase& bundled, cuda::Model& model);
int64_t gradient_roundings(const golden::ModelConfig& config, int64_t positions);

}  // namespace assay::gpu_check
