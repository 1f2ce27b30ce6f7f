#include "cuda_impl/engine/factor_weights.h"

#include "cuda_impl/engine/convert.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

template <class S>
FactorWeights<S>::FactorWeights(const golden::ModelConfig& c, const golden::WeightSource& source) {
  const golden::ProbTransformer pt = golden::prob_transformer_of(c);
  const int64_t V = c.vocab_size, D = c.hidden_size;
  for (int64_t m = 0; m < pt.label_groups; ++m) {
    unary.push_back(upload(source, golden::unary_weight(c, m), V, D));
    output.push_back(c.tie_word_embeddings ? unary.back()
                                           : upload(source, golden::output_weight(c, m), V, D));
  }
  const int64_t rows = golden::distance_groups(pt) * pt.channels * pt.rank;
  for (int64_t group = 0; group < pt.head_groups * pt.label_groups; ++group) {
    factors.push_back({.u = upload(source, golden::factor_weight(group, "u"), rows, D),
                       .v = upload(source, golden::factor_weight(group, "v"), rows, D)});
  }
}

template <class S>
View<const S, 2> FactorWeights<S>::upload(const golden::WeightSource& source,
                                          const std::string& name, int64_t rows, int64_t columns) {
  std::vector<double> values(static_cast<std::size_t>(rows * columns));
  source.read(name, values);
  std::vector<S> stored;
  stored.reserve(values.size());
  for (const double value : values) stored.push_back(narrow<S>(value));
  memory_.emplace_back(stored);
  return {memory_.back().get(), {rows, columns}};
}

#define ASSAY_INSTANTIATE(S) template class FactorWeights<S>;
ASSAY_FOR_STORAGE_TYPES(ASSAY_INSTANTIATE)
#undef ASSAY_INSTANTIATE

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
