#include "cuda_impl/engine/weights/factor_weights.h"

#include "cuda_impl/engine/memory/convert.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
FactorWeights<S>::FactorWeights(const golden::ModelConfig& c, const golden::WeightSource& source) {
  FactorArrays<S>& arrays = *this;
  memory_.plan([&](Carver& carver) { carve(arrays, carver, c); });
  for_each_array(arrays, c, [&](const std::string& name, const View<S, 2>& array) {
    std::vector<double> values(static_cast<std::size_t>(array.shape[0] * array.shape[1]));
    source.read(name, values);
    std::vector<S> stored;
    stored.reserve(values.size());
    for (const double value : values) stored.push_back(narrow<S>(value));
    simt::copy_in(array.data, stored.data(), stored.size() * sizeof(S));
  });
}

#define ASSAY_INSTANTIATE(S) template class FactorWeights<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
