// One array for each weight of a Probabilistic Transformer: the weights, their gradients, or an
// optimizer's moments.
#pragma once

#include <string>
#include <vector>

#include "cuda_impl/engine/memory/arena.h"
#include "golden/contract/config.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Of one group: row (k*C + c)*r + i holds column i of channel c's factor for distance group k.
template <class T>
struct Factors {
  View<T, 2> u, v;  // [K*C*r,D]
};

template <class T>
struct FactorArrays {
  std::vector<View<T, 2>> unary, output;  // [V,D], by label group; tied: the same
  std::vector<Factors<T>> factors;        // by head group + label group, one of which is 0
};

template <class T>
void carve(FactorArrays<T>& arrays, Carver& carver, const golden::ModelConfig& config) {
  const golden::ProbTransformer pt = golden::prob_transformer_of(config);
  const int64_t V = config.vocab_size, D = config.hidden_size;
  const int64_t P = golden::distance_groups(pt) * pt.channels * pt.rank;
  arrays = {};
  for (int64_t m = 0; m < pt.label_groups; ++m) {
    arrays.unary.push_back(carver.view<T>({V, D}));
    arrays.output.push_back(config.tie_word_embeddings ? arrays.unary.back()
                                                       : carver.view<T>({V, D}));
  }
  for (int64_t group = 0; group < pt.head_groups * pt.label_groups; ++group) {
    arrays.factors.push_back({.u = carver.view<T>({P, D}), .v = carver.view<T>({P, D})});
  }
}

// visit(name, view) for every array, always in the same order; a tied output's comes once.
template <class T, class Visit>
void for_each_array(const FactorArrays<T>& arrays, const golden::ModelConfig& config,
                    const Visit& visit) {
  for (std::size_t m = 0; m < arrays.unary.size(); ++m) {
    const auto group = static_cast<int64_t>(m);
    visit(golden::unary_weight(config, group), arrays.unary[m]);
    if (config.tie_word_embeddings) continue;
    visit(golden::output_weight(config, group), arrays.output[m]);
  }
  for (std::size_t group = 0; group < arrays.factors.size(); ++group) {
    visit(golden::factor_weight(static_cast<int64_t>(group), "u"), arrays.factors[group].u);
    visit(golden::factor_weight(static_cast<int64_t>(group), "v"), arrays.factors[group].v);
  }
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
