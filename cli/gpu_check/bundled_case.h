// Reads a test bundle (golden/contract/test_bundle.h). Everything that is read is checked: the
// file against its hash, every tensor against its place. All failures are InputError with file,
// tensor and cause.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/tensor.h"
#include "golden/contract/weights.h"
#include "verify/subjects/subject.h"

namespace assay::gpu_check {

struct BundledCase {
  std::string name;
  golden::ModelConfig config = {};
  std::string narrow_probs = {};  // of the metadata
  verify::Batch inputs = {};
  std::map<std::string, golden::Tensor> tensors = {};  // all of the file, by their names there

  const golden::Tensor* find(const std::string& tensor) const;  // nullptr if there is none
  bool has_gradients() const;
};

class BundledWeights final : public golden::WeightSource {
 public:
  explicit BundledWeights(const BundledCase& bundled) : bundled_(bundled) {}
  void read(const std::string& name, std::span<double> values) const override;

 private:
  const BundledCase& bundled_;
};

// One line of bundle.json.
struct BundleEntry {
  std::string name, file, hash;
};

// The cases of the bundle whose name matches the pattern (golden/contract/names.h). Throws
// InputError where none does.
std::vector<BundleEntry> read_manifest(const std::string& folder, const std::string& pattern);
BundledCase read_case(const std::string& folder, const BundleEntry& entry);

}  // namespace assay::gpu_check
