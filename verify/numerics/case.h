// One golden file made ready for judging: the reference graph of its model, its batch, and the
// checkpoints that it declares.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "golden/file/golden_file.h"
#include "reference/graph/graph.h"
#include "reference/interpreters/value.h"
#include "verify/numerics/ledger.h"
#include "verify/numerics/undefined_positions.h"

namespace assay::verify {

// Of every node of a graph: the later, the nearer to the loss. A weight stands right behind the
// first node that reads it, whose backward rule completes its gradient.
std::vector<int> backward_places(const reference::Graph& graph);

struct Case {
  // computes: Subject::computes; empty: every tensor. gives_a_part: of the subject, which may give
  // what it does not say that it computes. from_elsewhere: the subject is nothing that has to have
  // 0 where a query sees no key.
  Case(const golden::GoldenReader& golden, const std::string& pattern,
       const std::vector<std::string>& left_out = {},
       const std::function<bool(const std::string&)>& computes = {}, bool gives_a_part = false,
       bool from_elsewhere = false);
  Case(const Case&) = delete;  // the bindings point into it
  Case& operator=(const Case&) = delete;

  const golden::GoldenReader& golden;
  std::unique_ptr<reference::Graph> graph;
  Batch batch;
  reference::Bindings bindings;
  const UndefinedPositions undefined;  // what is computed there is not compared
  // Declared: those that match the pattern and none of left_out, in execution order; the others,
  // among them what a subject that gives no part does not compute.
  std::vector<Checkpoint> asked, undemanded;
  // "grad/<name>" of what the file has gradients of, likewise, from the loss backwards; of weights
  // that the loss of such a file does not depend on; and those that are not asked for.
  std::vector<Checkpoint> gradients, zero_gradients, unasked_gradients;
  std::set<std::string> not_computed;

  bool declares(const std::string& name) const;
  bool has_gradients() const {
    return gradients.size() + zero_gradients.size() + unasked_gradients.size() > 0;
  }
  Interest interest_in(const std::string& name) const;  // of the judge, by pattern and left_out
  // What a subject has to hand over, all that is declared: {}. Without `forced` the tensors that
  // are computed from others of the subject need those, too.
  std::vector<std::string> wanted(bool forced) const;
  bool can_be_forced(const std::string& name) const;
  // learned_rounding of the file's method; for ErrorObserver::error_of_input.
  reference::Array weight_error(golden::Precision storage, const reference::NodeData& input,
                                const reference::Array& value) const;
  // What a defect at a checkpoint could not show because a weight that it reads is what training
  // starts from: a gain of 1, a bias of 0. "" if there is nothing.
  std::string initial_weights(const std::string& name) const;
  int64_t elements() const;  // of the checkpoints that are asked for
  // Throws InputError for a part of left_out that matches neither a declared tensor nor one of
  // `others`: what was to be left out by a mistyped name is judged, and nobody would be told.
  void check_left_out(const std::vector<std::string>& others) const;
  // Names of the asked that the patterns match, "all" every one, and of gradients, where a pattern
  // begins with "grad/". Throws InputError for a part of them that matches none.
  std::set<std::string> required(const std::vector<std::string>& patterns) const;

 private:
  bool selects(const std::string& name) const;
  void find_gradients();

  std::string pattern_;
  std::vector<std::string> left_out_;
};

}  // namespace assay::verify
