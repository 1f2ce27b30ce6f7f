// The arrays of a forward pass for one [B,T], and the tables that stay as long as that shape does.
#pragma once

#include <vector>

#include "cuda_impl/engine/interface/method.h"
#include "cuda_impl/engine/interface/model.h"
#include "cuda_impl/engine/memory/arena.h"
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// N = B*T. What two tensors of one name share is never alive at the same time: the recompute of
// layer j runs when layer l's own attn_norm, v, context and act have been read, and at the MLP
// attn_out too.
// gate and up are null where a block or a method has no use for them, as is every table.
//
// A layer costs, in scalars for each of the N positions and beside what all layers share:
//   forward   nothing; (H + Hkv) Dh of q and k where scores of earlier layers are summed; these, H
//             of lse and, unless they are stacked (stacked_recompute.h), D of the recompute's
//             output where earlier layers are run again
//   backward  2 D + 2 (H + Hkv) Dh + H of streams, q, k, v, context and lse, D more with norms
//             after the residuals, (H + Hkv) Dh more with norms of q and k, D of the recompute's
//             output likewise, (H + Hkv) Dh of dq and dk where layers look back. Norms,
//             MLPs and all of a recompute are formed again.
//   with Keep::shared  D of streams, (H + Hkv) Dh of q and k where layers look back, H of lse where
//             they are run again; of the recompute's output, dq and dk as above
//   with Keep::inputs  the same without q, k and lse where layers are run again
// So what a method of L(L-1)/2 recomputes needs grows with L alone, and no [T,T] array is kept but
// probs, where ModelOptions::stored_bytes allows it: (L-1) B H T T scalars, forward and backward.
template <class S>
struct Buffers {
  using A = accum_t<S>;
  int64_t B = 0, T = 0;
  int64_t R = 0;  // positions that the tables cover

  View<int32_t, 2> tokens;        // [B,T]
  View<uint8_t, 2> padding_mask;  // [B,T]
  View<int32_t, 2> labels;        // [B,T]
  View<A, 2> cosines, sines;      // [R,Dh/2]

  View<S, 2> attn_norm, attn_out;  // [N,D]
  View<S, 2> mlp_norm;             // [N,D]
  View<S, 2> gate, up, act;        // [N,F]
  View<S, 2> mlp_out, sum;         // [N,D]; sum is attn/sum or mlp/sum
  View<S, 4> recompute_v;          // [B,Hkv,T,Dh]
  View<S, 3> recompute_context;    // [B,T,H*Dh]
  // With Keep::inputs: what A_j is rebuilt from, of a layer j that is run again. Else none.
  View<S, 4> again_q, again_k;  // [B,H,T,Dh], [B,Hkv,T,Dh]
  View<S, 4> again_proj;        // [B,H,T,Dh], of either before its norm
  View<A, 3> again_lse;         // [B,H,T]
  View<A, 3> partial;           // [B*H,parts,Dh+2], where a step reads its keys in parts
  View<S, 2> last;              // [B,D], in decoding: each row's last position
  View<S, 2> logits;            // [rows,V] of as many positions as head_bytes holds
  View<A, 2> losses;            // [B,T]
  View<A, 1> loss;              // [1]

  // Intermediates without a name are not rounded to S.
  View<A, 2> score_factors;       // [N,L], of methods 5.1D, 5.1E, D-base
  View<A, 2> wide_heads;          // [N,H*Dh], projections before RoPE and the split
  View<A, 2> wide_gate, wide_up;  // [N,F], of a recompute

  // One per layer where the method or a backward pass looks back at them, one in all where not; of
  // the streams X_l one more.
  std::vector<View<S, 2>> stream, attn_residual, mlp_residual;  // [N,D]
  std::vector<View<S, 4>> v;                                    // [B,Hkv,T,Dh]
  std::vector<View<S, 3>> context;                              // [B,T,H*Dh]
  std::vector<View<S, 4>> q, k;                                 // [B,H,T,Dh], [B,Hkv,T,Dh]
  std::vector<View<S, 4>> q_proj, k_proj;                       // the same, without norms null
  std::vector<View<A, 3>> lse;                                  // [B,H,T], one behind the other
  std::vector<View<S, 2>> recompute_out;                        // [N,D], o_{j>l} or r_{j>l}
  // Where windows are dynamic: of each layer, also of one without a window; with the extremes that
  // a cache takes, scratch, and a coefficient of 1.
  std::vector<View<int32_t, 2>> window_sizes;  // [B,T]
  View<A, 4> window_extremes;                  // [B,1,T,2]
  View<A, 3> window_sums;                      // [B,H,T]
  View<int32_t, 2> window_keys;                // [B,T]
  View<A, 1> unit;                             // [1]
  View<S, 5> probs;  // [L-1,B,H,T,T], of the layers that are run again; null: rebuilt from lse

  // The same as device tables. Behind those of layer L-1: again_q and again_k.
  const S** q_table = nullptr;          // [L+1]
  const S** k_table = nullptr;          // [L+1]
  const S** recompute_table = nullptr;  // [L-1]

  bool saved_for_backward = false;  // for a backward pass

  bool stores_probs() const { return probs.data != nullptr; }
  // Whether a layer that reads A_j forms it again from the input of layer j.
  bool forms_again() const { return again_lse.shape[0] > 0; }
  // Of layer j < L-1.
  View<S, 4> probs_of(int64_t j) const {
    const auto [layers, batch, heads, queries, keys] = probs.shape;
    return {probs.data + j * batch * heads * queries * keys, {batch, heads, queries, keys}};
  }
};

// Of layer l.
template <class Array>
Array& at(std::vector<Array>& arrays, int64_t l) {
  return arrays[static_cast<std::size_t>(l) % arrays.size()];
}
template <class Array>
const Array& at(const std::vector<Array>& arrays, int64_t l) {
  return arrays[static_cast<std::size_t>(l) % arrays.size()];
}

struct PassShape {
  int64_t B = 0, T = 0, R = 0;
  bool save_for_backward = false;  // a backward pass follows
  bool decode = false;             // logits are wanted of one position a row, and no loss
  ModelOptions options;
};

// Whether a step of decoding reads its keys in parts (ModelOptions::key_span).
inline bool reads_in_parts(const PassShape& shape) {
  return shape.decode && shape.T == 1 && shape.options.key_span > 0;
}

// Whether a pass over whole sequences [B,T] keeps the probabilities that its recomputes read.
template <class S>
bool stores_probs(const golden::ModelConfig& config, const Method& method,
                  const ModelOptions& options, int64_t B, int64_t T) {
  const int64_t count = (config.num_hidden_layers - 1) * B * config.num_attention_heads * T * T;
  return method.recomputes() && count > 0 &&
         static_cast<std::size_t>(count) <= options.stored_bytes / sizeof(S);
}

// Lays the buffers out in the arena and fills the tables. False, with nothing done, if they stand
// already.
template <class S>
bool plan_buffers(Buffers<S>& buffers, Arena& arena, const golden::ModelConfig& config,
                  const Method& method, const PassShape& shape, Stream stream);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
