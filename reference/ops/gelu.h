// GELU:  exact  y = x/2 (1 + erf(x / sqrt(2)))
//        tanh   y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
//
//   x of any shape, element by element. They differ by up to 5e-4. Hugging Face transformers calls
//   them gelu, and gelu_new or gelu_pytorch_tanh.
// Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, section 2.
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

enum class Gelu { exact, tanh };

Node gelu(Node x, Gelu form);

}  // namespace assay::reference
