#include "verify/numerics/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>

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
    case Fault::unusable:
      return "unusable";
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

void Ledger::take(Observed observed, golden::DType due, golden::DType storage) {
  ++taken_;
  const Checkpoint* checkpoint = find(observed.name);
  if (checkpoint == nullptr && demands_.part) {
    undeclared_.push_back(observed.name);
    return;
  }
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
  if (!accept(observed, *checkpoint, due, storage)) return;
  if (observed.restrictions.any()) restrictions_[observed.name] = observed.restrictions;
  golden::Shape& shape = observed.tensor.shape;
  values_[observed.name] =
      observed.read ? CompactTensor(std::move(shape), std::move(observed.read), observed.may_fail)
                    : CompactTensor(std::move(shape), observed.tensor.values);
}

namespace {

// Words of a name without what a wrapper of PyTorch modules puts in front.
std::string bare_spelling(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return std::isalnum(c) == 0 ? '/' : static_cast<char>(std::tolower(c));
  });
  name.erase(0, name.find_first_not_of('/'));
  for (bool found = true; found;) {
    found = false;
    for (const std::string prefix : {"orig/mod/", "module/", "model/", "transformer/"}) {
      if (!name.starts_with(prefix)) continue;
      name.erase(0, prefix.size());
      found = true;
    }
  }
  return name;
}

// "; judge .. with --precision bf16", of the type that was handed over.
std::string precision_hint(golden::DType got) {
  for (const golden::Precision precision : {golden::Precision::fp64, golden::Precision::fp32,
                                            golden::Precision::bf16, golden::Precision::fp16}) {
    if (dtype_of(precision) != got) continue;
    return fmt::format("; judge what is computed in it with --precision {}",
                       golden::precision_name(precision));
  }
  return "; activations are floats: save them as such";
}

// The precision whose numbers a float type holds.
golden::Precision numbers_of(golden::DType dtype) {
  for (const golden::Precision precision :
       {golden::Precision::fp32, golden::Precision::bf16, golden::Precision::fp16}) {
    if (dtype_of(precision) == dtype) return precision;
  }
  return golden::Precision::fp64;
}

// Whether a type holds every number of the other and more.
bool is_wider(golden::DType dtype, golden::DType than) {
  const auto is_16_bits = [](golden::DType type) {
    return type == golden::DType::bfloat16 || type == golden::DType::float16;
  };
  if (dtype == golden::DType::float64) return than == golden::DType::float32 || is_16_bits(than);
  return dtype == golden::DType::float32 && is_16_bits(than);
}

struct NotHeld {
  int64_t values = 0;
  std::size_t first = 0;
};

NotHeld not_held(std::span<const double> values, golden::DType dtype) {
  NotHeld unheld;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double x = values[i];
    if (std::isnan(x) || golden::round_to(numbers_of(dtype), x) == x) continue;
    if (unheld.values++ == 0) unheld.first = i;
  }
  return unheld;
}

std::vector<double> values_of(const Observed& observed) {
  if (!observed.read) return observed.tensor.values;
  std::vector<double> values(
      static_cast<std::size_t>(golden::element_count(observed.tensor.shape)));
  observed.read(values);
  return values;
}

}  // namespace

// The declared tensor of another spelling: with dots, capitals, or a wrapper's prefix.
const Checkpoint* Ledger::find_spelled_otherwise(const std::string& name) const {
  if (spellings_.empty()) {
    for (const auto& [declared, checkpoint] : by_name_) {
      spellings_.emplace(bare_spelling(declared), checkpoint);
    }
  }
  const auto found = spellings_.find(bare_spelling(name));
  return found == spellings_.end() ? nullptr : found->second;
}

// "; it declares layers/0/attn/q: rename it", where a name is spelled otherwise.
std::string Ledger::spelling_hint(const std::string& name) const {
  const Checkpoint* meant = find_spelled_otherwise(name);
  return meant == nullptr
             ? "; what is not to be judged is named by --leave-out"
             : fmt::format(
                   "; it declares {}: rename it, or say so in a map (--map; 'assay map "
                   "suggest' makes one)",
                   meant->name);
}

// The type is that of the container: what was computed in a narrower one may stand in it.
void Ledger::check_type(const Observed& observed, const Checkpoint& due, golden::DType dtype,
                        golden::DType storage) {
  const golden::DType got = observed.dtype;
  if (got == dtype && (got == storage || !demands_.part)) return;
  std::string reason;
  if (is_wider(got, storage) && (got == dtype || is_wider(got, dtype))) {
    const std::vector<double> values = values_of(observed);
    for (const golden::DType as : {storage, dtype}) {
      if (as == got) return;
      const NotHeld unheld = not_held(values, as);
      if (unheld.values == 0) {
        judged_as_[due.name] = as;
        Narrowed& narrowed =
            narrowed_[fmt::format("{} as {}", golden::dtype_name(got), golden::dtype_name(as))];
        if (narrowed.tensors++ == 0) narrowed.first = due.name;
        return;
      }
      reason =
          fmt::format(" with {} of {} values that {} does not hold, first {:.17g} at {}",
                      unheld.values, values.size(), golden::dtype_name(as), values[unheld.first],
                      index_text(due.shape, due.axes, static_cast<int64_t>(unheld.first)));
    }
  }
  if (got == dtype) return;
  report({Fault::dtype, due.name,
          fmt::format("{}: expected {}, got {}{}{}", due.name, golden::dtype_name(dtype),
                      golden::dtype_name(got), reason, precision_hint(got))});
}

bool Ledger::accept(const Observed& observed, const Checkpoint& due, golden::DType dtype,
                    golden::DType storage) {
  const golden::Tensor& tensor = observed.tensor;
  if (const std::string& problem = observed.restrictions.problem; !problem.empty()) {
    report({Fault::unusable, due.name, fmt::format("{}: {}", due.name, problem)});
    return false;
  }
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
  const bool demanded = std::none_of(undemanded_.begin(), undemanded_.end(),
                                     [&](const auto& c) { return c.name == due.name; });
  if (demanded) check_type(observed, due, dtype, storage);
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
  std::set<std::string> missing;
  for (const Checkpoint& checkpoint : declared_) {
    if (times_.count(checkpoint.name) > 0) continue;
    missing.insert(checkpoint.name);
    if (demands_.part && !demands_.required.contains(checkpoint.name)) {
      absent_.insert(checkpoint.name);
      continue;
    }
    report({Fault::missing, checkpoint.name,
            fmt::format("{}: missing: expected {}", checkpoint.name, checkpoint.shape_text())});
  }
  for (const std::string& name : undeclared_) {
    const Checkpoint* meant = find_spelled_otherwise(name);
    const bool misspelled = meant != nullptr && missing.contains(meant->name);
    if (misspelled || demands_.strict) {
      report({Fault::extra, name,
              fmt::format("{}: the golden file does not declare it{}", name, spelling_hint(name))});
    } else {
      extras_.push_back(name);
    }
  }
}

golden::DType Ledger::judged_as(const std::string& name, golden::DType due) const {
  const auto found = judged_as_.find(name);
  return found == judged_as_.end() ? due : found->second;
}

const Restrictions& Ledger::restrictions(const std::string& name) const {
  static const Restrictions kNone;
  const auto found = restrictions_.find(name);
  return found == restrictions_.end() ? kNone : found->second;
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
