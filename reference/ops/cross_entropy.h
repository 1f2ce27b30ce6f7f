// loss = mean over counted (b,t) of  log sum_v exp(z[b,t,v]) - z[b,t,y]
//
//   logits z [B,T,V], labels [B,T]. cross_entropy: y = labels[b,t+1], position t predicts the next
//   one, so the last predicts nothing. cross_entropy_in_place: y = labels[b,t]. Label -100 is not
//   counted; with nothing counted the loss is 0. Other labels outside [0,V) are an InputError. Sums
//   run over ascending v, then ascending (b,t).
#pragma once

#include "reference/graph/graph.h"

namespace assay::reference {

Node cross_entropy(Node logits, Node labels);
Node cross_entropy_in_place(Node logits, Node labels);

}  // namespace assay::reference
