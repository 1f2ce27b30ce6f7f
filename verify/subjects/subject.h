// What can be judged: anything that turns a batch into named tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/precision.h"
#include "golden/contract/tensor.h"

namespace assay::verify {

struct Batch {
  int64_t batch = 0;
  int64_t positions = 0;
  std::vector<int32_t> tokens;          // [B,T]
  std::vector<uint8_t> attention_mask;  // [B,T], 1 = real token, 0 = padding
  std::vector<int32_t> labels;          // [B,T], -100 = not counted
};

// What is not compared of a tensor, or not computed from it.
struct Restrictions {
  int64_t first_position = 0;  // positions (axis T) before it were not handed over: they are NaN
  bool before_mask = false;    // scores before the mask: what golden excludes is not compared
  // Its values went through a rounding of ours: it is compared, and nothing is computed from it.
  bool only_compared = false;
  std::string problem = {};  // why its values cannot be used at all, a message; "" if they can

  bool any() const {
    return first_position > 0 || before_mask || only_compared || !problem.empty();
  }
};

// One tensor that a subject computed, its values widened to double.
struct Observed {
  std::string name;
  golden::DType dtype = golden::DType::float64;
  golden::Tensor tensor;
  // Where a subject that was told what to look for can give the values at any later time, `tensor`
  // has a shape and no values: they are read when they are needed, and again, rather than kept.
  std::function<void(std::span<double> out)> read = nullptr;
  // For read: an InputError says that the values cannot be had, and nobody asked for them.
  bool may_fail = false;
  std::string problem = {};  // why there are no values, a message; "" if there are
  Restrictions restrictions = {};
};

// The type that holds a precision's numbers.
golden::DType dtype_of(golden::Precision precision);

struct Capabilities {
  bool can_run = false;    // computes on any batch of the model it was made for (a dump cannot)
  bool can_force = false;  // takes forced inputs by name
  bool can_grad = false;   // gives gradients of the loss
  // Computes in another way where only logits and loss are asked for: operations joined that are
  // apart where somebody looks in between.
  bool can_run_untapped = false;
  bool can_decode = false;      // keeps a cache that tokens are appended to
  bool decodes_ragged = false;  // a different number to each row: decode_rows
  // What it decodes is, bit for bit, what a whole run computes at that position.
  bool decodes_same_bits = false;
  bool reads_mask = false;  // looks at attention_mask: what is padded has no influence
  // The only number of rows that it computes at once, and the only length; 0: any. Another number
  // of rows is run in pieces, in which no row can see what is in another piece.
  int64_t fixed_batch = 0;
  int64_t fixed_length = 0;
};

// A way in which what a cache holds may be kept beside the usual one.
struct Cache {
  std::string name;   // "a ring"; "": the usual one
  int64_t piece = 0;  // positions that it takes at once, at most; 0: any number
};

// What the names of gradients begin with: "grad/logits", "grad/lm_head.weight".
inline constexpr char kGrad[] = "grad/";
inline bool is_gradient(const std::string& name) { return name.starts_with(kGrad); }

// What is asked of a run that nobody looks into.
enum class Result { logits, loss };

// Returns the values a tensor is to be replaced with, or nullptr to leave it. They stay valid until
// the next call.
using Forced = std::function<const golden::Tensor*(const std::string& name)>;

// What the judge does with a tensor that a subject has.
enum class Interest {
  needed,  // it is compared
  useful,  // what is compared may be computed from it
  named,   // nobody asked for it, and that is a finding: its name is enough
  none     // nobody looks at it
};
using Interests = std::function<Interest(const std::string& name)>;

// Called for every tensor in the order in which the subject computes (a dump: in which it lists)
// them.
using Receive = std::function<void(Observed observed)>;

class Subject;

// A subject that forms again what it does not keep for the backward pass.
struct Checkpointed {
  std::string what;  // "layers' inputs kept"
  // Throws Unsupported or InputError where the model cannot be run so.
  std::function<std::unique_ptr<Subject>()> make;
};

class Subject {
 public:
  virtual ~Subject() = default;
  virtual std::string describe() const = 0;  // "simt, bf16 storage, fp32 accumulation"
  // Under which schedule it is judged and why, where its description does not tell.
  virtual std::string arithmetic() const { return ""; }
  virtual Capabilities capabilities() const = 0;
  virtual golden::PrecisionSchedule precision() const = 0;
  // The type in which it hands a tensor over; another one in its output is a failure.
  virtual golden::DType dtype_of(const std::string& tensor_name) const = 0;
  // false: it has no such tensor, for it computes past it (layers joined in one product). Nobody
  // forces that tensor, and it is not asked for, which the verdict says; of a subject that gives a
  // part it is judged where it is handed over all the same.
  virtual bool computes(const std::string& tensor_name) const {
    (void)tensor_name;
    return true;
  }
  // forced may be empty. Whether a tensor that it names was really replaced is the subject's
  // promise by can_force; scores and probabilities are never forced.
  virtual void run(const Batch& batch, const Forced& forced, const Receive& receive) = 0;
  // A forward and a backward pass: d loss / d x as "grad/<x>" of every weight x that the loss
  // depends on, and of those tensors that the subject has gradients of; unscaled, in any float
  // type. Nothing else is handed over. Only where can_grad.
  virtual void run_gradients(const Batch& batch, const Receive& receive);
  // Whether it hands over what it chooses to (a dump, a program elsewhere): what is missing, and
  // what nobody declared, is no fault of it unless the user says so.
  virtual bool gives_a_part() const { return false; }
  // What was done to its tensors on their way, for the report: a line each.
  virtual std::vector<std::string> notes() const { return {}; }
  // What it hands over, as far as it knows before it runs (a dump); else empty.
  virtual std::vector<std::string> known_names() const { return {}; }
  // Of the runs that follow; none: everything is needed. A subject that has its tensors in a file
  // reads no others than these, and each when it is asked for (Observed::read).
  virtual void look_for(const Interests& interests) { (void)interests; }
  // Only where can_decode. reset() empties the cache, of `rows` rows that will have `positions` at
  // most; it throws Unsupported for a model that has none. decode() appends `tokens` to it, [B,n],
  // and hands over the tensors of those n positions, or of the last one alone.
  virtual void reset(int64_t rows, int64_t positions);
  virtual void decode(const Batch& tokens, const Receive& receive);
  // Other ways in which it can keep what it is given of sequences of so many positions, of the same
  // values. use_cache() takes one of their names, or "" for the usual way, and the next reset()
  // makes such a cache.
  virtual std::vector<Cache> caches(int64_t positions) const {
    (void)positions;
    return {};
  }
  virtual void use_cache(const std::string& name) { (void)name; }
  // Likewise, of row b the first counts[b] tokens alone. Only where decodes_ragged; it hands over
  // the tensors of each row's last new position.
  virtual void decode_rows(const Batch& tokens, std::span<const int32_t> counts,
                           const Receive& receive);
  // Whether the tensor may be among those that decode() hands over.
  virtual bool decodes(const std::string& tensor_name) const { return computes(tensor_name); }
  // What somebody asks for of the runs that follow, beside what it is computed from: a subject may
  // leave out the rest. None: everything.
  virtual void ask_for(const std::vector<std::string>& names) { (void)names; }
  // One result of a run in which no other tensor is asked for. Only where can_run_untapped.
  virtual golden::Tensor run_untapped(const Batch& batch, Result result);
  // The same subject but for what it keeps of a forward pass: gradients have to have the same bits.
  virtual std::vector<Checkpointed> checkpointed() const { return {}; }
  // The same subject made anew, which has run nothing; nullptr where none can be made.
  virtual std::unique_ptr<Subject> another() const { return nullptr; }
  // What the subject says of where it comes from; "" if it does not say.
  virtual std::string config_hash() const { return ""; }
  virtual std::string seed() const { return ""; }
};

// What a subject looks for and is asked for, until this ends: what `interests` reads may end before
// the subject does, also where a run throws.
class Looking {
 public:
  Looking(Subject& subject, const Interests& interests, const std::vector<std::string>& names = {})
      : subject_(subject) {
    subject_.look_for(interests);
    subject_.ask_for(names);
  }
  ~Looking() {
    subject_.look_for({});
    subject_.ask_for({});
  }
  Looking(const Looking&) = delete;
  Looking& operator=(const Looking&) = delete;

 private:
  Subject& subject_;
};

}  // namespace assay::verify
