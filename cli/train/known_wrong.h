// Forms of a model that are known to be wrong (docs/methods.md, "Forms that are wrong"), for the
// study of methods alone: what a run of them looks like. No option of a command names them, and
// nobody reads a checkpoint of theirs as one of the method.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "reference/graph/graph.h"

namespace assay::cli {

// "lost-mask":   no query is kept from any key: every layer sees the future
// "re-softmax":  stored probabilities are masked and go through a softmax once more before earlier
//                layers are run again with them: A_j <- softmax(mask(A_j))
const std::vector<std::string>& known_wrong_names();

// The graph of the method, rewritten. Throws InputError for a method in which there is nothing to
// rewrite, and InternalError for another name.
std::unique_ptr<reference::Graph> build_known_wrong(const std::string& name,
                                                    const golden::ModelConfig& config,
                                                    int64_t batch, int64_t positions);

}  // namespace assay::cli
