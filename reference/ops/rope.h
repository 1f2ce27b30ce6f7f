// Rotary positions in the half-rotation layout: with x1, x2 the halves of a head,
//   y = [x1 cos - x2 sin, x2 cos + x1 sin],  angle[t,i] = t * frequency[i],  i = 0 .. Dh/2-1
//   frequency[i] = theta^(-2i/Dh), scaled for long contexts as below. Angles are formed in double.
//
//   x [B,n,T,Dh], n = H or Hkv. Each position turns by itself.
// Source: Su et al., "RoFormer", 2021, eq. 34; layout and rope_scaling "llama3" as in Hugging Face
// transformers: wavelengths above original/low are slowed by `factor`, below original/high kept,
// and in between interpolated.
#pragma once

#include <optional>
#include <vector>

#include "golden/contract/config.h"
#include "reference/graph/graph.h"

namespace assay::reference {

Node rope(Node x, double theta, const std::optional<golden::RopeScaling>& scaling);

// The frequencies for head size Dh: [Dh/2], radians per position.
std::vector<double> rope_frequencies(int64_t head_dim, double theta,
                                     const std::optional<golden::RopeScaling>& scaling);

}  // namespace assay::reference
