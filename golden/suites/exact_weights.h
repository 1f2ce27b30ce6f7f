// Weights and tokens with which a Llama block computes without one rounding in bfloat16 storage
// with float32 accumulation, in float32 and in float64: what differs from the golden value by one
// bit is wrong. Sums may run in any order. The loss takes a logarithm and stays inexact.
//
// The stream [D] of every position holds
//
//   carrier  1    2^40                                          never written again
//   ranks    Hkv  1 .. V, a permutation of the vocabulary each  never written again
//   signs    8    +-1                                           never written again
//   content  8    +-1, +-3                                      never written again
//   a        half of the rest: attention outputs are added here; whole numbers, 0 at first
//   m        the other half: MLP outputs are added here; whole numbers, 0 at first
//
// RMSNorm. All but the carrier, "the payload", are whole numbers of magnitude <= 256 (below), so
//   their squares sum to less than 2^24 for D <= 256, which is lost beside 2^80 in float64 and
//   float32 alike, as is eps <= 1: mean(x^2) + eps = 2^80 / D, whose root is a power of two for
//   D = 4^n. The carrier becomes sqrt(D), a constant that serves as a bias. Gains 2^40/sqrt(D) 2^c,
//   c drawn from {0, 1}, leave payload x 2^c; every weight that reads it carries 2^-c.
// RoPE. theta = 2^120, and q, k are 0 in the pairs i < 5 Dh/16, whose angle matters: 0 turned is 0.
//   In the other pairs the angle is t 2^(-240 i/Dh) <= t 2^-75, and both members are not 0 and of
//   magnitudes within a factor 2^7: x1 cos - x2 sin = x1 (1 +- 2^-61 for t < 2^7) rounds to x1.
// Scores. With u = +-1, b_j odd from signs and m, c_j = +-1, r = rank, K = 16 V, M = 2^13:
//     q . k = 2 M 4^l N,   N = u r + K sum_{j<4} b_j c_j
//   u, b_j belong to the query, r, c_j to the key. Two keys of different tokens have N that differ
//   by >= 1: sum_j b_j c_j differs by 0 or by >= 2, and |u (r - r')| < V < 2 K. Summed over layers
//   (5.1) the coefficients U = sum 4^l u and B_j are odd again, |U| <= 21, 21 V < 2 K.
//   1/sqrt(Dh) is a power of two for Dh = 4^n. |N| < 2^24 (|b_j| <= 73 by the table, L <= 3,
//   V <= 128): float32 holds every partial sum.
// Softmax. Scores of one row differ by >= 2 M / sqrt(Dh) >= 2048, and exp(-746) is 0 in float64:
//   a row has a single 1. Tokens of one row of the batch are distinct, so there is no tie.
// SwiGLU. gate = 1024 z for a whole number z: silu(gate) is gate for z > 0 (1 + exp(-1024) = 1) and
//   0 for z <= 0 (exp(1024) is infinite): act = 1024 max(z, 0) up, up = +-1.
//
// How far the payload grows, A and P the bounds of a and m before layer l, n attention outputs and
// k MLP outputs being added by the layer (n = l+1 or k = l+1 in recompute methods, else 1):
//     each attention output <= 3 + P;  A' = A + n (3 + P)     v reads one content and one of m
//     each MLP output <= 3 + A';       P' = P + k (3 + A')    z reads one content and one of a
//   k = l+1: (A, P) = (0, 0), (3, 6), (12, 36), (51, 198);  n = l+1: .. (21, 30), (120, 153).
// Logits read one content and one of a or m: <= 201. A whole number up to 256 is a bfloat16.
//
// A zero may carry either sign. Values of float16 would overflow: the carrier does not fit.
#pragma once

#include "golden/contract/weights.h"

namespace assay::golden {

class ExactWeights : public WeightSource {
 public:
  // Throws InputError naming the key of a config for which the above does not hold.
  ExactWeights(const ModelConfig& config, uint64_t seed);
  void read(const std::string& name, std::span<double> out) const override;

 private:
  class Matrix;
  void fill(const std::string& stem, int64_t layer, Matrix& matrix) const;
  void embedding(Matrix& matrix) const;
  void queries(int64_t layer, Matrix& matrix) const;
  void keys(Matrix& matrix) const;

  ModelConfig config_;
  uint64_t seed_;
  std::vector<TensorInfo> list_;
  int64_t signs_, content_, a_, m_;  // first channel of each; the ranks start at channel 1
};

// [B,T], the tokens of a row distinct: (odd t + shift) mod V, both drawn for each row. T <= V.
std::vector<int32_t> exact_tokens(int64_t vocab_size, int64_t batch, int64_t positions,
                                  uint64_t seed);

}  // namespace assay::golden
