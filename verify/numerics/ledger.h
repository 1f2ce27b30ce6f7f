// The account of what is compared. It fails closed: every declared checkpoint is handed over
// exactly once, in its shape and type, or that is a fault of its own kind.
#pragma once

#include <map>
#include <set>
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
  unusable,   // for a reason of its own, which the message says
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

// What is asked of a subject that hands over a part.
struct Demands {
  bool part = false;    // what is missing is no fault unless it is required
  bool strict = false;  // what is extra is one
  std::set<std::string> required = {};
};

// Tensors whose container is wider than what they are judged as, which holds every value.
struct Narrowed {
  int64_t tensors = 0;
  std::string first;
};

class Ledger {
 public:
  // who: how the subject calls itself, the "where" of every message.
  Ledger(std::vector<Checkpoint> declared, std::string who);

  // Names that are declared but not asked for (--only): handed over or not, they are no finding.
  void tolerate(const std::vector<Checkpoint>& undemanded);

  void demand(const Demands& demands) { demands_ = demands; }

  // A seed or config hash that the subject does not say ("") is no finding.
  void check_origin(const std::string& seed_due, const std::string& config_hash_due,
                    const Subject& subject);

  // Books one tensor and keeps it when it can be compared. `due` is the type it should have; a
  // container that is wider is no fault where `due` holds every value. `storage`, if it holds them
  // too, is what they are then judged as.
  void take(Observed observed, golden::DType due, golden::DType storage);
  void take(Observed observed, golden::DType due) { take(std::move(observed), due, due); }

  // Books what a comparison found.
  void report(Finding finding);

  // To be called after the run: finds what is missing, and judges what is extra.
  void close();

  const std::vector<Checkpoint>& declared() const { return declared_; }
  const std::vector<Finding>& findings() const { return findings_; }
  Fault fault_of(const std::string& name) const;  // the first of its findings, or none
  // Of a subject that hands over a part: what is not there, what nobody declared (messages).
  const std::set<std::string>& absent() const { return absent_; }
  const std::vector<std::string>& extras() const { return extras_; }
  bool is_of_a_part() const { return demands_.part; }
  // By "float64 as float32".
  const std::map<std::string, Narrowed>& narrowed() const { return narrowed_; }
  // The type that a tensor is judged as where its container is wider; else `due`.
  golden::DType judged_as(const std::string& name, golden::DType due) const;
  const Restrictions& restrictions(const std::string& name) const;  // none of a name unknown
  int64_t taken() const { return taken_; }                          // tensors handed over

  // What the candidate handed over, or nullptr if that is nothing usable.
  const CompactTensor* find_values(const std::string& name) const;
  // Its values; the last ones are kept, for they are compared and then computed with.
  reference::Array values(const std::string& name) const;

 private:
  const Checkpoint* find(const std::string& name) const;
  const Checkpoint* find_spelled_otherwise(const std::string& name) const;
  std::string spelling_hint(const std::string& name) const;
  bool accept(const Observed& observed, const Checkpoint& due, golden::DType dtype,
              golden::DType storage);
  void check_type(const Observed& observed, const Checkpoint& due, golden::DType dtype,
                  golden::DType storage);

  std::vector<Checkpoint> declared_;
  std::vector<Checkpoint> undemanded_;
  std::string who_;
  std::map<std::string, const Checkpoint*> by_name_;
  mutable std::map<std::string, const Checkpoint*> spellings_;  // made when one is looked for
  std::map<std::string, int> times_;
  std::map<std::string, CompactTensor> values_;
  std::vector<Finding> findings_;
  Demands demands_;
  std::vector<std::string> undeclared_;  // names
  std::set<std::string> absent_;
  std::vector<std::string> extras_;
  std::map<std::string, Narrowed> narrowed_;
  std::map<std::string, golden::DType> judged_as_;
  std::map<std::string, Restrictions> restrictions_;
  int64_t taken_ = 0;
  mutable std::string last_name_;
  mutable reference::Array last_;
};

}  // namespace assay::verify
