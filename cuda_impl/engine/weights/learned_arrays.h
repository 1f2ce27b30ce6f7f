// What a method learns beside its gates, whose numbers stand in Weights.
#pragma once

#include <string>
#include <vector>

#include "cuda_impl/engine/weights/gradients.h"
#include "golden/contract/weights.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// One number for each in device memory: the parameters, or their gradients or moments. As a source
// it has them by the names of the parameters.
template <class A>
class LearnedArrays final : public golden::WeightSource {
 public:
  struct Array {
    int64_t layer;
    std::string name, suffix;  // "model.layers.2.mix.weight", "mix.weight"
    bool matrix;               // two dimensions or more
    View<A, 1> values;
  };

  LearnedArrays(const golden::ModelConfig& config, const golden::WeightSource& source,
                Stream stream);

  const std::vector<Array>& all() const { return arrays_; }
  void read(const std::string& name, std::span<double> out) const override;
  LearnedValues of(int64_t layer) const;
  void write(int64_t layer, const LearnedValues& values);

 private:
  void put(const Array& array, std::span<const double> values);

  Stream stream_;
  std::vector<Array> arrays_;
  simt::Buffer<A> memory_;
};

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
