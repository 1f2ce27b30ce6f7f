// Connects a golden file or a batch with the inputs of a reference graph.
#pragma once

#include "golden/golden_file.h"
#include "golden/weights.h"
#include "reference/interpreters/value.h"
#include "verify/subject.h"

namespace assay::verify {

// The batch that a golden file was made with.
Batch read_batch(const golden::GoldenReader& golden);

// Gives tokens, attention_mask and labels of the batch as doubles and weights by name. Both
// arguments must outlive what is returned. Throws InputError for an input of any other name.
reference::Bindings bind(const Batch& batch, const golden::WeightSource& weights);

}  // namespace assay::verify
