// What a golden file says about dependence: which positions of the inputs each position of a tensor
// can depend on, for all inputs. It speaks of the method's graph.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/file/golden_file.h"
#include "reference/graph/graph.h"

namespace assay::golden {

// Of each named tensor with an axis T, [T,T]: 1 at (t,s) where a cell of position t may depend on
// position s of tokens or attention_mask, whatever its head or its key. Rows of a batch do not
// depend on each other (tests/reference/interpreters/dependence_test.cpp), so a graph of one row
// says it all: throws InputError for one of more.
std::map<std::string, std::vector<uint8_t>> position_dependences(const reference::Graph& graph);

// Writes /dependence/<name> of every tensor with positions.
void write_dependences(const ModelConfig& config, int64_t positions, GoldenWriter& writer);

// Throws InputError when the relations of all tensors, which are held at once, would take more than
// 4 GiB: they grow with the cube of T.
void check_dependence_memory(const ModelConfig& config, int64_t positions);

}  // namespace assay::golden
