// The messages of mean-field updates between labels and heads, for all channels of one group.
//
// With Q the labels [B,T,Dz], and per channel c factors T^(c) = U^(c) V^(c)T of rank r:
//   (1)  Q_c = Q U^(c),  V_c = Q V^(c)
//   (2)  F_c = Q_c V_c^T                                what labels say to heads
//   (3)  G = sum_c ( Qh_c V_c U^(c)T + Qh_c^T Q_c V^(c)T )     full: what my head and my
//        G = 2 sum_c Qh_c V_c U^(c)T                           symmetric   dependents say to me
//        G =   sum_c Qh_c V_c U^(c)T                           head
//
// full is the derivative of the expected ternary score sum_c <Qh_c, F_c> with respect to Q. The
// other two equal it, up to their factor, only where T^(c) and Qh_c are symmetric. The second term
// of full runs against the heads: a word hears every word whose head it is.
//
// With K distance groups U and V differ by group: (1) holds for K*C channels, of which a pair of
// words uses the C of its own group.
// Source: Wu and Tu, "Probabilistic Transformer", Findings of ACL 2023, equations 6, 7, 24 to 28.
#pragma once

#include <optional>

#include "golden/contract/prob_transformer.h"
#include "reference/graph/graph.h"
#include "reference/ops/distance.h"

namespace assay::reference {

struct Factors {
  Node u, v;             // [K*C*r,Dz]: row (k*C + c)*r + i holds column i of U, of V
  int64_t channels = 0;  // C
  int64_t rank = 0;      // r
  std::optional<DistanceGroups> distances;
};

struct Projected {
  Node q, k;  // Q_c, V_c [B,K*C,T,r]
};

Projected project(Node labels, const Factors& factors);                  // (1)
Node head_messages(const Projected& projected, const Factors& factors);  // (2) [B,C,T,T]
Node label_messages(golden::ProbTransformer::Message kind, Node heads, const Projected& projected,
                    const Factors& factors);  // (3) [B,T,Dz]

}  // namespace assay::reference
