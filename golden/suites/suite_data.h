// What a case of a suite computes with: tokens, padding, weights.
//
//   drawn     from the seed (golden/contract/weights.h)
//   exact     no rounding anywhere (golden/suites/exact_weights.h)
//   large     drawn, but token embeddings 64 times as large, and the matrices that write to the
//             stream (o_proj, down_proj; GPT-2: both c_proj) and feed the MLP (gate_proj, up_proj;
//             GPT-2: c_fc) 4 times. A tied head is as large as the embeddings.
//   positive  the absolute values of drawn ones, q_proj, k_proj and lm_head excepted, in GPT-2 the
//             columns of c_attn that give q and k: sums of positive terms, in which nothing
//             cancels. GPT-2's LayerNorm takes the mean off, so what reads it still has both signs.
//   raised    drawn, but every score of attention is raised by several hundred, so that exp
//             overflows in float32 unless the row's maximum is subtracted; what keys differ by is
//             of order 1. In GPT-2 one channel of every query and key is 32: 1024/sqrt(Dh). In a
//             Llama channel 0 of the stream is 64 everywhere and its norm sqrt(D) but for some
//             thousandths; q_proj and k_proj read it with 6 into one channel of the pair that RoPE
//             turns least: 36 D/sqrt(Dh). The norm's other gains are 8 times as large, which makes
//             up for what channel 0 does to it, and o_proj and down_proj a quarter, so that the
//             stream does not grow from layer to layer. Not for pt, nor where q and k are normed.
//   float32   drawn, each moved by up to 1/64 of it: numbers of float32, of which bf16 and fp16
//             hold hardly one, so that a subject in them has to round.
#pragma once

#include <memory>
#include <vector>

#include "golden/contract/weights.h"
#include "golden/suites/suite.h"

namespace assay::golden {

struct CaseData {
  std::vector<int32_t> tokens;          // [B,T]
  std::vector<uint8_t> attention_mask;  // [B,T]
  std::unique_ptr<WeightSource> weights;
  // Whether a reader of the golden file can draw the weights again from config and seed; if not
  // they have to be stored.
  bool drawn_from_seed = true;
};

// Throws InputError naming the case for data that its config does not allow.
CaseData case_data(const SuiteCase& suite_case);

}  // namespace assay::golden
