// Connects a golden file or a batch with the inputs of a reference graph.
#pragma once

#include "golden/contract/precision.h"
#include "golden/contract/weights.h"
#include "golden/file/golden_file.h"
#include "reference/interpreters/value.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// The batch that a golden file was made with.
Batch read_batch(const golden::GoldenReader& golden);

// Gives tokens, attention_mask and labels of the batch as doubles and weights by name. Both
// arguments must outlive what is returned. Throws InputError for an input of any other name.
reference::Bindings bind(const Batch& batch, const golden::WeightSource& weights);

// A candidate holds its weights in its storage type. Throws InputError, naming weight and value,
// when that type does not hold the golden file's weights exactly: the candidate would compute with
// other weights, which no bound here allows for. What the method itself learns
// (golden/contract/methods.h) is exempt: see learned_rounding.
void require_weights_in(const golden::GoldenReader& golden, golden::Precision storage);

// What require_weights_in would throw for.
struct Unheld {
  int64_t values = 0, weights = 0;
  std::string first;  // "/weights/model.norm.weight"
  double example = 0;
};
Unheld weights_not_in(const golden::GoldenReader& golden, golden::Precision storage);

// Weights as a candidate holds them that rounds them to nearest when it loads them; what the method
// learns is left as it is. read() throws InputError for a value beyond the range of the type.
class HeldWeights : public golden::WeightSource {
 public:
  HeldWeights(const golden::WeightSource& given, std::string method, golden::Precision storage)
      : given_(given), method_(std::move(method)), storage_(storage) {}
  void read(const std::string& name, std::span<double> out) const override;

 private:
  const golden::WeightSource& given_;
  std::string method_;
  golden::Precision storage_;
};

// Whether the weight is one of those that the method learns beside its block.
bool is_learned(const std::string& method, const std::string& weight);

// What a method learns may stand in the storage type or in a wider one: how far its values then are
// from those given, by element; absent for any other input, and where the type holds them all.
reference::Array learned_rounding(const std::string& method, golden::Precision storage,
                                  const reference::NodeData& input, const reference::Array& value);

}  // namespace assay::verify
