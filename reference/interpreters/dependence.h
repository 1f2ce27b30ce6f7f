// Propagates dependence through a graph, op by op: a statement about every possible input value,
// where a test of an implementation speaks of the inputs it tried.
#pragma once

#include <string>
#include <vector>

#include "reference/graph/graph.h"
#include "reference/numbers/relation.h"

namespace assay::reference {

// The elements of the listed graph inputs, numbered one after another.
struct Sources {
  struct Block {
    std::string input;  // "tokens"
    int64_t first = 0;
    golden::Shape shape;
  };
  std::vector<Block> blocks;
  int64_t count = 0;
};

Sources make_sources(const Graph& graph, const std::vector<std::string>& inputs);

// The relation of every node, unnamed ones too, indexed by node id: all are kept, so that a witness
// can be traced. Memory is cells x sources bits per node: meant for T up to about 128.
std::vector<Relation> dependences(const Graph& graph, const Sources& sources);

}  // namespace assay::reference
