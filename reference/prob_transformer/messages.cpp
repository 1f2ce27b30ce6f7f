#include "reference/prob_transformer/messages.h"

#include "reference/ops/add.h"
#include "reference/ops/attend.h"
#include "reference/ops/linear.h"
#include "reference/ops/scale.h"
#include "reference/ops/scores.h"
#include "reference/ops/split_heads.h"

namespace assay::reference {

using Message = golden::ProbTransformer::Message;

Projected project(Node labels, const Factors& f) {
  const int64_t all_channels = f.u.shape()[0] / f.rank;               // K*C
  return {.q = split_heads(linear(labels, f.u), all_channels, 'H'),   // [B,K*C,T,r]  (1)
          .k = split_heads(linear(labels, f.v), all_channels, 'G')};  // [B,K*C,T,r]  (1)
}

Node head_messages(const Projected& projected, const Factors& f) {
  const Node every_group = attention_scores(projected.q, projected.k);  // [B,K*C,T,T]  (2)
  return f.distances ? pick_by_distance(every_group, *f.distances) : every_group;
}

Node label_messages(Message kind, Node heads, const Projected& projected, const Factors& f) {
  const Node used = f.distances ? spread_by_distance(heads, *f.distances) : heads;  // [B,K*C,T,T]
  const Node from_head = linear_back(attend(used, projected.k), f.u);               // [B,T,Dz]
  if (kind == Message::head) return from_head;                                      // (3) head
  if (kind == Message::symmetric) return scale(from_head, 2.0);                     // (3) symmetric
  return from_head + linear_back(attend_back(used, projected.q), f.v);              // (3) full
}

}  // namespace assay::reference
