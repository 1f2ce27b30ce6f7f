#include "verify/numerics/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verify/numerics/layout.h"

namespace assay::verify {

using golden::shape_text;

std::string fault_name(Fault fault) {
  switch (fault) {
    case Fault::none:
      return "none";
    case Fault::missing:
      return "missing";
    case Fault::extra:
      return "extra";
    case Fault::duplicate:
      return "duplicate";
    case Fault::shape:
      return "shape";
    case Fault::dtype:
      return "dtype";
    case Fault::empty:
      return "empty";
    case Fault::nonfinite:
      return "nonfinite";
    case Fault::unmasked:
      return "unmasked";
    case Fault::seed:
      return "seed";
    case Fault::config:
      return "config";
    case Fault::nothing:
      return "nothing compared";
  }
  return "unknown";
}

std::string Checkpoint::shape_text() const {
  if (shape.empty()) return "[] (a scalar)";
  return fmt::format("{} {}", golden::shape_text(shape),
                     extents.empty() ? axes_text(axes) : "(" + extents + ")");
}

Ledger::Ledger(std::vector<Checkpoint> declared, std::string who)
    : declared_(std::move(declared)), who_(std::move(who)) {
  for (const Checkpoint& checkpoint : declared_) by_name_[checkpoint.name] = &checkpoint;
}

void Ledger::tolerate(const std::vector<Checkpoint>& undemanded) {
  undemanded_ = undemanded;
  for (const Checkpoint& checkpoint : undemanded_) by_name_[checkpoint.name] = &checkpoint;
}

void Ledger::check_origin(const std::string& seed_due, const std::string& config_hash_due,
                          const Subject& subject) {
  if (const std::string seed = subject.seed(); !seed.empty() && seed != seed_due) {
    report({Fault::seed, "",
            fmt::format("made from another seed: expected {}, got {}", seed_due, seed)});
  }
  if (const std::string hash = subject.config_hash(); !hash.empty() && hash != config_hash_due) {
    report(
        {Fault::config, "",
         fmt::format("made for another config: expected hash {}, got {}", config_hash_due, hash)});
  }
}

void Ledger::take(Observed observed, golden::DType due) {
  ++taken_;
  const Checkpoint* checkpoint = find(observed.name);
  if (checkpoint == nullptr) {
    report({Fault::extra, observed.name,
            fmt::format("{}: the golden file does not declare it{}", observed.name,
                        spelling_hint(observed.name))});
    return;
  }
  if (++times_[observed.name] > 1) {
    if (times_[observed.name] == 2) {
      report({Fault::duplicate, observed.name,
              fmt::format("{}: handed over more than once", observed.name)});
    }
    values_.erase(observed.name);  // nobody knows which of them counts
    return;
  }
  if (!accept(observed, *checkpoint, due)) return;
  golden::Shape& shape = observed.tensor.shape;
  values_[observed.name] =
      observed.read ? CompactTensor(std::move(shape), std::move(observed.read), observed.may_fail)
                    : CompactTensor(std::move(shape), observed.tensor.values);
}

// "; it declares layers/0/attn/q: rename it", where a name is spelled otherwise: with dots, or as a
// wrapper of PyTorch modules leaves it.
std::string Ledger::spelling_hint(std::string name) const {
  std::replace(name.begin(), name.end(), '.', '/');
  for (bool found = true; found;) {
    found = false;
    for (const std::string prefix : {"_orig_mod/", "module/", "model/", "transformer/"}) {
      if (!name.starts_with(prefix)) continue;
      name.erase(0, prefix.size());
      found = true;
    }
  }
  return find(name) == nullptr ? "; what is not to be judged is named by --leave-out"
                               : fmt::format("; it declares {}: rename it", name);
}

namespace {

// "; judge .. with --precision bf16", of the type that was handed over.
std::string precision_hint(golden::DType got) {
  for (const golden::Precision precision : {golden::Precision::fp64, golden::Precision::fp32,
                                            golden::Precision::bf16, golden::Precision::fp16}) {
    if (dtype_of(precision) != got) continue;
    return fmt::format("; judge what is computed in it with --precision {}",
                       golden::precision_name(precision));
  }
  return "";
}

}  // namespace

bool Ledger::accept(const Observed& observed, const Checkpoint& due, golden::DType dtype) {
  const golden::Tensor& tensor = observed.tensor;
  const auto elements = observed.read ? golden::element_count(tensor.shape)
                                      : static_cast<int64_t>(tensor.values.size());
  if (elements == 0) {
    report({Fault::empty, due.name,
            fmt::format("{}: empty: expected {}, got {}", due.name, shape_text(due.shape),
                        shape_text(tensor.shape))});
    return false;
  }
  if (tensor.shape != due.shape || elements != golden::element_count(due.shape)) {
    // The width of logits is the vocabulary.
    const std::string hint =
        layout_hint(due.shape, due.name == "logits" ? "BTV" : due.axes, tensor.shape);
    report({Fault::shape, due.name,
            fmt::format("{}: expected {}, got {}{}{}", due.name, due.shape_text(),
                        shape_text(tensor.shape), hint.empty() ? "" : "; ", hint)});
    return false;
  }
  if (observed.dtype != dtype) {
    report({Fault::dtype, due.name,
            fmt::format("{}: expected {}, got {}{}", due.name, golden::dtype_name(dtype),
                        golden::dtype_name(observed.dtype), precision_hint(observed.dtype))});
  }
  return true;
}

void Ledger::report(Finding finding) {
  if (!finding.name.empty() && std::any_of(undemanded_.begin(), undemanded_.end(),
                                           [&](const auto& c) { return c.name == finding.name; })) {
    return;
  }
  finding.message = who_ + ": " + finding.message;
  findings_.push_back(std::move(finding));
}

void Ledger::close() {
  for (const Checkpoint& checkpoint : declared_) {
    if (times_.count(checkpoint.name) == 0) {
      report({Fault::missing, checkpoint.name,
              fmt::format("{}: missing: expected {}", checkpoint.name, checkpoint.shape_text())});
    }
  }
}

Fault Ledger::fault_of(const std::string& name) const {
  for (const Finding& finding : findings_) {
    if (finding.name == name) return finding.fault;
  }
  return Fault::none;
}

const CompactTensor* Ledger::find_values(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? nullptr : &found->second;
}

reference::Array Ledger::values(const std::string& name) const {
  if (last_name_ != name) {
    last_name_.clear();
    last_ = values_.at(name).values();
    last_name_ = name;
  }
  return last_;
}

const Checkpoint* Ledger::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

}  // namespace assay::verify
