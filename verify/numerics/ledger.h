// The account of what is compared. It fails closed: every declared checkpoint is handed over
// exactly once, in its shape and type, or that is a fault of its own kind.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "verify/numerics/compact_tensor.h"
#include "verify/subjects/subject.h"

namespace assay::verify {

enum class Fault {
  none,
  missing,    // declared, never handed over
  extra,      // handed over, never declared
  duplicate,  // handed over twice
  shape,
  dtype,
  empty,      // no elements
  nonfinite,  // NaN or an infinity where the golden value is finite
  unmasked,   // finite where the golden value is -inf
  seed,       // made from another seed
  config,     // made for another config
  nothing     // not one tensor was compared
};

std::string fault_name(Fault fault);

// A tensor that the golden file declares.
struct Checkpoint {
  std::string name;
  golden::Shape shape;
  std::string axes;       // one letter per axis (golden/contract/names.h)
  std::string extents{};  // "B,T,F", as docs/tensors.md writes them; "" where it is not known

  std::string shape_text() const;  // "[2,4,8] (B,T,F)"
};

struct Finding {
  Fault fault = Fault::none;
  std::string name;  // of the tensor; "" when it concerns the whole run
  std::string
      message;  // "layers/3/attn/q: expected [2,4,8,8] (B,H,T,Dh), got [2,8,4,8]; looks like .."
};

class Ledger {
 public:
  // who: how the subject calls itself, the "where" of every message.
  Ledger(std::vector<Checkpoint> declared, std::string who);

  // Names that are declared but not asked for (--only): handed over or not, they are no finding.
  void tolerate(const std::vector<Checkpoint>& undemanded);

  // A seed or config hash that the subject does not say ("") is no finding.
  void check_origin(const std::string& seed_due, const std::string& config_hash_due,
                    const Subject& subject);

  // Books one tensor and keeps it when it can be compared. `due` is the type it should have.
  void take(Observed observed, golden::DType due);

  // Books what a comparison found.
  void report(Finding finding);

  // To be called after the run: finds what is missing.
  void close();

  const std::vector<Checkpoint>& declared() const { return declared_; }
  const std::vector<Finding>& findings() const { return findings_; }
  Fault fault_of(const std::string& name) const;  // the first of its findings, or none
  int64_t taken() const { return taken_; }        // tensors handed over

  // What the candidate handed over, or nullptr if that is nothing usable.
  const CompactTensor* find_values(const std::string& name) const;
  // Its values; the last ones are kept, for they are compared and then computed with.
  reference::Array values(const std::string& name) const;

 private:
  const Checkpoint* find(const std::string& name) const;
  std::string spelling_hint(std::string name) const;
  bool accept(const Observed& observed, const Checkpoint& due, golden::DType dtype);

  std::vector<Checkpoint> declared_;
  std::vector<Checkpoint> undemanded_;
  std::string who_;
  std::map<std::string, const Checkpoint*> by_name_;
  std::map<std::string, int> times_;
  std::map<std::string, CompactTensor> values_;
  std::vector<Finding> findings_;
  int64_t taken_ = 0;
  mutable std::string last_name_;
  mutable reference::Array last_;
};

}  // namespace assay::verify
