// One golden file made ready for judging: the reference graph of its model, its batch, and the
// checkpoints that it declares.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "golden/golden_file.h"
#include "reference/graph.h"
#include "reference/interpreters/value.h"
#include "verify/numerics/ledger.h"

namespace assay::verify {

struct Case {
  Case(const golden::GoldenReader& golden, const std::string& pattern,
       const std::vector<std::string>& left_out = {});
  Case(const Case&) = delete;  // the bindings point into it
  Case& operator=(const Case&) = delete;

  const golden::GoldenReader& golden;
  std::unique_ptr<reference::Graph> graph;
  Batch batch;
  reference::Bindings bindings;
  // Declared: those that match the pattern and none of left_out, in execution order; the others.
  std::vector<Checkpoint> asked, undemanded;

  bool declares(const std::string& name) const;
  int64_t elements() const;  // of the checkpoints that are asked for
};

}  // namespace assay::verify
