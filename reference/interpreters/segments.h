// Gradient checkpointing: which values of a forward pass are kept for the backward pass, where the
// others are computed again, segment by segment.
//
// Source: Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, section 3.
#pragma once

#include <vector>

#include "reference/graph/graph.h"

namespace assay::reference {

// Segment i is the nodes behind cut i-1 up to cut i; before the first cut and behind the last one,
// what gradient rules read is kept as it is without checkpointing.
struct Segments {
  std::vector<int> cuts;     // ascending node ids
  std::vector<bool> stored;  // by node id: kept from the forward pass, though it lies in a segment

  bool empty() const { return cuts.size() < 2; }
  // The segment of a node; -1 before the first cut and behind the last one.
  int of(int id) const;
  int first(int segment) const { return cuts[static_cast<std::size_t>(segment)] + 1; }
  int last(int segment) const { return cuts[static_cast<std::size_t>(segment) + 1]; }
};

// What is kept of a model's layers (of the rounds of the Probabilistic Transformer).
enum class Keep {
  all,     // what gradient rules read: no checkpointing
  shared,  // each layer's input, and what later layers read of it: of methods 1 to 4 its A_j
  inputs   // each layer's input alone: A_j is computed again by every layer that reads it
};

// Of the graph of a model (methods/registry.h).
Segments segments_of(const Graph& graph, Keep keep);

}  // namespace assay::reference
