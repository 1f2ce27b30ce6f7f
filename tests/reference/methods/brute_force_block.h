// The parts of a block once more, in plain loops: no graph, no operations, no products library.
// They share nothing with the reference but names, so that a fault in one shows as a difference.
#pragma once

#include <string>

#include "tests/reference/models.h"

namespace assay::reference::testing {

// The blocks' own maths with the weights of layer l, on any input. Norms are named by what they are
// called; where they stand is the caller's business.
class BruteForceBlock {
 public:
  BruteForceBlock(const ModelConfig& config, const Inputs& inputs, const Tensors& weights);

  bool pre_norm() const { return c_.norm == golden::NormPosition::pre; }
  bool has_gate() const { return c_.block == golden::BlockKind::llama; }

  Tensor embed() const;                                // [B,T,D]
  Tensor attn_norm(int64_t l, const Tensor& x) const;  // [B,T,D]
  Tensor query(int64_t l, const Tensor& h) const;      // [B,H,T,Dh], with norms of q and k their
  Tensor key(int64_t l, const Tensor& h) const;        // [B,Hkv,T,Dh] projections
  bool norms_heads() const { return c_.qk_norm; }
  Tensor head_norm(int64_t l, const char* name, const Tensor& heads) const;
  Tensor turned(const Tensor& heads) const;        // by RoPE; GPT-2's as they are
  Tensor value(int64_t l, const Tensor& h) const;  // [B,Hkv,T,Dh]
  Tensor attn_out(int64_t l, const Tensor& context) const;
  Tensor mlp_norm(int64_t l, const Tensor& x) const;
  Tensor gate(int64_t l, const Tensor& n) const;       // [B,T,F], Llama only
  Tensor up(int64_t l, const Tensor& n) const;         // [B,T,F]
  Tensor act(int64_t l, const Tensor& n) const;        // [B,T,F]
  Tensor mlp_out(int64_t l, const Tensor& act) const;  // [B,T,D]
  Tensor final_norm(const Tensor& x) const;
  Tensor logits(const Tensor& x) const;     // [B,T,V]
  Tensor loss(const Tensor& logits) const;  // []

  Tensor products(const Tensor& q, const Tensor& k) const;  // [B,H,T,T]
  Tensor softmax(const Tensor& scores) const;
  Tensor weighted(const Tensor& probs, const Tensor& v) const;  // [B,T,H*Dh]
  // Whether row (b*H + h)*T + t of layer l may see key s.
  bool allowed(int64_t l, int64_t row, int64_t s) const;
  bool is_real(int64_t b, int64_t t) const;  // no padding

 private:
  Tensor norm(const Tensor& x, const std::string& name) const;
  // Columns [first, first + count) of x W + b; W [N,K] for Llama, [K,N] for GPT-2.
  Tensor matrix(const Tensor& x, const std::string& name, int64_t first, int64_t count) const;
  Tensor matrix(const Tensor& x, const std::string& name) const;
  Tensor heads(const Tensor& x, int64_t count) const;
  double frequency(int64_t i) const;
  int64_t key_row(int64_t plane, int64_t s) const;
  std::string below(int64_t l, const char* llama, const char* gpt2) const;

  const ModelConfig& c_;
  const Inputs& in_;
  const Tensors& weights_;
  const int64_t B_, T_;
  const bool gpt2_;
};

}  // namespace assay::reference::testing
