// AdamW, step number n (from 1), of one weight w with gradient G:
//
//   (1)  g = c G,  c = min(1, max_norm / |G of all weights|),  1 without clipping
//   (2)  m = beta1 m + (1 - beta1) g
//   (3)  v = beta2 v + (1 - beta2) g^2
//   (4)  w = w - rate ( (m / (1 - beta1^n)) / (sqrt(v / (1 - beta2^n)) + eps) + decay w )
//
// The decay acts on the weight itself and never through the moments; epsilon stands outside the
// root. Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2;
// Kingma and Ba, "Adam", 2015, algorithm 1.
#pragma once

#include <cstdint>

#include "reference/numbers/array.h"

namespace assay::reference {

struct AdamwRule {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  // Of weights with two dimensions or more in the checkpoint; norms, biases, and learned vectors
  // and scalars do not decay.
  double weight_decay = 0;
  double max_norm = 0;  // of all gradients together; 0: no clipping
};

// Throws InputError for a number out of range, by name.
void validate(const AdamwRule& rule, const char* where);

struct AdamwStep {
  int64_t number = 1;  // n, from 1
  double rate = 0;
  double clip = 1;  // c of (1)
  bool decays = false;
};

// (1) to (4) on every element of a weight and its moments, all of one shape, in place.
void adamw(const AdamwRule& rule, const AdamwStep& step, const Array& gradient, Array& weight,
           Array& first, Array& second);

}  // namespace assay::reference
