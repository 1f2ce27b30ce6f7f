// Connects a golden file or a batch with the inputs of a reference graph.
#pragma once

#include "golden/contract/precision.h"
#include "golden/contract/weights.h"
#include "golden/file/golden_file.h"
#include "reference/interpreters/value.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// The batch that a golden file was made with.
Batch read_batch(const golden::GoldenReader& golden);

// Gives tokens, attention_mask and labels of the batch as doubles and weights by name. Both
// arguments must outlive what is returned. Throws InputError for an input of any other name.
reference::Bindings bind(const Batch& batch, const golden::WeightSource& weights);

// A candidate holds its weights in its storage type. Throws InputError, naming weight and value,
// when that type does not hold the golden file's weights exactly: the candidate would compute with
// other weights, which no bound here allows for. What the method itself learns
// (golden/contract/methods.h) is exempt: see learned_rounding.
void require_weights_in(const golden::GoldenReader& golden, golden::Precision storage);

// Whether the weight is one of those that the method learns beside its block.
bool is_learned(const std::string& method, const std::string& weight);

// What a method learns may stand in the storage type or in a wider one: how far its values then are
// from those given, by element; absent for any other input, and where the type holds them all.
reference::Array learned_rounding(const std::string& method, golden::Precision storage,
                                  const reference::NodeData& input, const reference::Array& value);

}  // namespace assay::verify
