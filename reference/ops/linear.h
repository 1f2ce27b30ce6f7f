// Y = X W, with a bias Y = X W + b:  y[b,t,n] = sum_k x[b,t,k] w[k,n] + b[n], k ascending, b last.
//
//   x [B,T,K], y [B,T,N], b [N]; w as it is stored: out_in [N,K], a state dict's Linear, or in_out
//   [K,N], GPT-2's Conv1D or a Linear read backwards. Mixes features only.
// A stored weight may hold several matrices side by side (GPT-2's c_attn holds Wq, Wk, Wv):
// `columns` says which outputs are meant; all of them without it.
#pragma once

#include <optional>

#include "reference/graph/graph.h"

namespace assay::reference {

enum class WeightLayout { out_in, in_out };

struct Columns {
  int64_t first = 0, count = 0;  // outputs [first, first + count)
};

Node linear(Node x, Node weight);       // out_in: X W^T of the stored weight
Node linear_back(Node x, Node weight);  // in_out: the same weight backwards
Node linear(Node x, Node weight, Node bias, WeightLayout layout,
            std::optional<Columns> columns = std::nullopt);

}  // namespace assay::reference
