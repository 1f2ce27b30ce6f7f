// The gradients that a subject handed over, and the rows of the report that they become.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "verify/numerics/case.h"
#include "verify/numerics/checkpoint_row.h"
#include "verify/numerics/ledger.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

// Every weight's gradient is due from a subject that gives one of them; those of tensors are taken
// where it has them. A weight that the loss does not depend on may have none, or 0 everywhere.
class HandedGradients {
 public:
  // Runs the subject forwards and backwards on the file's batch. required: what it is a failure not
  // to hand over.
  HandedGradients(const Case& file, Subject& subject, const std::set<std::string>& required);

  const Ledger& ledger() const { return ledger_; }
  Ledger& ledger() { return ledger_; }
  CheckpointRow* find(const std::string& name);         // "grad/logits"; nullptr: it is not judged
  std::vector<CheckpointRow>& rows() { return rows_; }  // in backward order, the loss first
  // In backward order.
  bool comes_before(const std::string& one, const std::string& other) const {
    return index_.at(one) < index_.at(other);
  }
  int64_t weights() const { return weights_; }  // judged; those of tensors are the rest

 private:
  struct Handed {
    std::vector<Checkpoint> due, unasked;
    std::vector<Observed> observed;
  };
  HandedGradients(const Case& file, const Subject& subject, Handed handed);
  static Handed run(const Case& file, Subject& subject, const std::set<std::string>& required);

  Ledger ledger_;
  std::vector<CheckpointRow> rows_;
  std::map<std::string, std::size_t> index_;
  int64_t weights_ = 0;
};

// The node whose gradient that is: "logits" of "grad/logits".
std::string node_of_gradient(const std::string& name);

}  // namespace assay::verify
