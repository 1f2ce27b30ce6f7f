// loss = mean over counted (b,t) of  log sum_v exp(z[b,t,v]) - z[b,t,y],  y = labels[b,t+1]
//
//   logits z [B,T,V], labels [B,T]; position t predicts label t+1, so the last one predicts
//   nothing. Label -100 is not counted; with nothing counted the loss is 0. Other labels outside
//   [0,V) are an InputError. Sums run over ascending v, then ascending (b,t).
#pragma once

#include "reference/graph.h"

namespace assay::reference {

Node cross_entropy(Node logits, Node labels);

}  // namespace assay::reference
