// The arrays of a forward pass for one [B,T], and the tables that stay as long as that shape does.
#pragma once

#include <vector>

#include "cuda_impl/engine/arena.h"
#include "cuda_impl/engine/method.h"
#include "cuda_impl/engine/model.h"
#include "cuda_impl/kernels/kernels.h"

namespace assay::cuda {
inline namespace SIMT_BACKEND {

// N = B*T. What two tensors of one name share is never alive at the same time: the recompute of layer
// j runs when layer l's own attn_norm, v, context and act have been read, and at the MLP attn_out too.
// gate and up are null where a block or a method has no use for them, as is every table.
template <class S>
struct Buffers {
  using A = accum_t<S>;
  int64_t B = 0, T = 0;

  View<int32_t, 2> tokens;    // [B,T]
  View<uint8_t, 2> real;      // [B,T]
  View<int32_t, 2> labels;    // [B,T]
  View<A, 2> cosines, sines;  // [T,Dh/2]

  View<S, 2> stream[2];                // [N,D], X_l and X_{l+1} in turn
  View<S, 2> attn_norm, attn_out;      // [N,D]
  View<S, 2> attn_residual, mlp_norm;  // [N,D]
  View<S, 2> gate, up, act;            // [N,F]
  View<S, 2> mlp_out, sum;             // [N,D]; sum is attn/sum or mlp/sum
  View<S, 4> v;                        // [B,Hkv,T,Dh]
  View<S, 3> context;                  // [B,T,H*Dh]
  View<S, 3> logits;                   // [B,T,V]
  View<A, 2> losses;                   // [B,T]
  View<A, 1> loss;                     // [1]

  // Intermediates without a name are not rounded to S.
  View<A, 2> score_factors;       // [N,L], of methods 5.1D, 5.1E, D-base
  View<A, 2> wide_heads;          // [N,H*Dh], projections before RoPE and the split
  View<A, 2> wide_gate, wide_up;  // [N,F], of a recompute

  // One per layer where the method looks back at them, one in all where it does not.
  std::vector<View<S, 4>> q, k;   // [B,H,T,Dh], [B,Hkv,T,Dh]
  std::vector<View<A, 3>> lse;    // [B,H,T]
  std::vector<View<S, 2>> again;  // [N,D], o_{j>l} or r_{j>l}

  // The same as device tables.
  const S** q_table = nullptr;      // [L]
  const S** k_table = nullptr;      // [L]
  const S** again_table = nullptr;  // [L-1]

  View<S, 4>& q_of(int64_t l) { return q[static_cast<std::size_t>(l) % q.size()]; }
  View<S, 4>& k_of(int64_t l) { return k[static_cast<std::size_t>(l) % k.size()]; }
  View<A, 3>& lse_of(int64_t l) { return lse[static_cast<std::size_t>(l) % lse.size()]; }
};

// Lays the buffers out for [B,T] in the arena and fills the tables. Nothing happens if they stand
// already.
template <class S>
void plan_buffers(Buffers<S>& buffers, Arena& arena, const golden::ModelConfig& config,
                  const Method& method, int64_t B, int64_t T, Stream stream);

}  // namespace SIMT_BACKEND
}  // namespace assay::cuda
