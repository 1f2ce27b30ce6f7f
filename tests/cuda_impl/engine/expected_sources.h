// What an element of a tensor has to depend on, said by docs/methods.md alone.
#pragma once

#include <memory>
#include <string>

#include "dependence_judge.h"

namespace assay::dependences {

// Where an element stands; -1 for an axis that its tensor does not have.
struct Place {
  int64_t b = -1, t = -1, s = -1;
};

class ExpectedSources {
 public:
  virtual ~ExpectedSources() = default;
  // Of an element at (b,t), of the pair of query t and key s, or without t of the loss.
  virtual simt::SourceSet at(const std::string& name, const Place& place) const = 0;
};

// Both read `tokens` as long as they live.
std::unique_ptr<ExpectedSources> expected_of_transformer(const golden::ModelConfig& config,
                                                         const Tokens& tokens);
// Throws InputError unless pt has causal heads and the schedule async.
std::unique_ptr<ExpectedSources> expected_of_pt(const golden::ModelConfig& config,
                                                const Tokens& tokens);

}  // namespace assay::dependences
