#include "cuda_impl/engine/weights/learned_arrays.h"

#include <algorithm>

#include "cuda_impl/engine/weights/read_back.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class A>
LearnedArrays<A>::LearnedArrays(const golden::ModelConfig& config,
                                const golden::WeightSource& source, Stream stream)
    : stream_(stream) {
  int64_t total = 0;
  for (int64_t l = 0; l < config.num_hidden_layers; ++l) {
    for (const golden::LearnedWeight& learned : golden::learned_weights(config, l)) {
      const std::string& suffix = learned.parameter.suffix;
      if (suffix.find(".gate.") != std::string::npos) continue;
      const int64_t count = golden::element_count(learned.info.shape);
      const bool matrix = learned.info.shape.size() >= 2;
      arrays_.push_back({l, learned.info.name, suffix, matrix, {nullptr, {count}}});
      total += count;
    }
  }
  memory_ = simt::Buffer<A>(static_cast<std::size_t>(total));
  A* next = memory_.get();
  for (Array& array : arrays_) {
    array.values.data = next;
    next += array.values.shape[0];
    std::vector<double> values(static_cast<std::size_t>(array.values.shape[0]));
    source.read(array.name, values);
    put(array, values);
  }
}

template <class A>
void LearnedArrays<A>::read(const std::string& name, std::span<double> out) const {
  const auto found = std::ranges::find(arrays_, name, &Array::name);
  ASSAY_CHECK(found != arrays_.end(), name);
  std::ranges::copy(read_values(found->values, stream_), out.begin());
}

template <class A>
LearnedValues LearnedArrays<A>::of(int64_t layer) const {
  LearnedValues values;
  for (const Array& array : arrays_) {
    if (array.layer == layer) values[array.suffix] = read_values(array.values, stream_);
  }
  return values;
}

template <class A>
void LearnedArrays<A>::write(int64_t layer, const LearnedValues& values) {
  for (const Array& array : arrays_) {
    if (array.layer == layer) put(array, values.at(array.suffix));
  }
}

template <class A>
void LearnedArrays<A>::put(const Array& array, std::span<const double> values) {
  std::vector<A> stored;
  for (const double value : values) stored.push_back(narrow<A>(value));
  simt::copy_in(array.values.data, stored.data(), stored.size() * sizeof(A), stream_);
}

#define ASSAY_INSTANTIATE(A) template class LearnedArrays<A>;
ASSAY_FOR_ACCUMULATORS(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
