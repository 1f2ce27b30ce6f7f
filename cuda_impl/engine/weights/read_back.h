// One number for each weight (weights, their gradients, an optimizer's moments), from device memory
// to a caller by the names and in the layout of the checkpoint.
#pragma once

#include <functional>
#include <vector>

#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/engine/memory/convert.h"
#include "cuda_impl/engine/weights/factor_arrays.h"
#include "cuda_impl/engine/weights/gradients.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// Arrays: Weights or WeightGradients of an accum_t. `learned` gives those of a layer that are not
// among them.
template <class Arrays>
void read_back(const Arrays& arrays, const golden::ModelConfig& config,
               const std::function<LearnedValues(int64_t layer)>& learned, Stream stream,
               const ReceiveTensor& receive);

// visit(view) for every array that is there, always in the same order; a tied head's comes once.
template <class Arrays, class Visit>
void for_each_array(const Arrays& arrays, const Visit& visit) {
  const auto present = [&](const auto& view) {
    if (view.data != nullptr) visit(view);
  };
  const auto norm = [&](const auto& n) {
    present(n.gain);
    present(n.bias);
  };
  present(arrays.embed);
  present(arrays.positions);
  for (const auto& layer : arrays.layers) {
    for (const auto* n : {&layer.attn_norm, &layer.mlp_norm}) norm(*n);
    for (const auto* affine :
         {&layer.wq, &layer.wk, &layer.wv, &layer.wo, &layer.w_gate, &layer.w_up, &layer.w_down}) {
      present(affine->weight);
      present(affine->bias);
    }
    for (const auto* n : {&layer.q_norm, &layer.k_norm}) norm(*n);
    present(layer.gate.norm);
    present(layer.gate.bias);
    present(layer.gate.w1);
    present(layer.gate.w2);
  }
  norm(arrays.final_norm);
  if (arrays.lm_head.data != arrays.embed.data) present(arrays.lm_head);
}

// After the work queued on `stream`.
template <class T, int R>
std::vector<double> read_values(const View<T, R>& view, Stream stream) {
  int64_t count = 1;
  for (const int64_t extent : view.shape) count *= extent;
  std::vector<std::remove_const_t<T>> stored(static_cast<std::size_t>(count));
  simt::copy_out(stored.data(), view.data, stored.size() * sizeof(T), stream);
  return {stored.begin(), stored.end()};
}

// The same of a Probabilistic Transformer, whose arrays are the checkpoint's.
template <class A>
void read_back(const FactorArrays<A>& arrays, const golden::ModelConfig& config, Stream stream,
               const ReceiveTensor& receive) {
  for_each_array(arrays, config, [&](const std::string& name, const View<A, 2>& view) {
    const std::vector<double> values = read_values(view, stream);
    receive(name, {{view.shape[0], view.shape[1]}, values});
  });
}

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
