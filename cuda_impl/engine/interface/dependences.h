// Which positions of a batch every element of every tensor is computed from: one forward pass of
// the engine's own kernels on the host executor, with a scalar that carries dependences
// (simt/tainted.h).
//
// The sources are the embeddings: `embed` at (b,t) comes from source b*T + t and nowhere else.
// Attention mask and labels are no sources. What a kernel selects by them, by a position or by a
// shape does not appear; what it computes from a value does, for every value: a dependence that
// rounds away or is multiplied by 0 is there.
#pragma once

#include <functional>
#include <span>

#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/simt/source_set.h"
#include "golden/contract/names.h"

namespace assay::cuda {

// A tensor, its values (those of fp64) and where they come from, element by element.
using ReceiveDependences =
    std::function<void(const golden::TensorInfo& tensor, std::span<const double> values,
                       std::span<const simt::SourceSet> sources)>;

// Calls receive for every tensor that Model::forward computes, in order. Throws as Model::forward
// does, and InputError for B*T > kMaxSources.
void trace_dependences(const golden::ModelConfig& config, const golden::WeightSource& weights,
                       const Batch& batch, const ReceiveDependences& receive,
                       const ModelOptions& options = {});

}  // namespace assay::cuda
