#include "verify/recorded/recorded_pair.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "verify/decoders/named.h"

namespace assay::verify {
namespace {

using golden::Precision;

// Of each row, the positions before the first token that differs.
std::vector<int64_t> common_positions(const Batch& a, const Batch& b) {
  const int64_t n = std::min(a.positions, b.positions);
  std::vector<int64_t> common;
  for (int64_t row = 0; row < a.batch; ++row) {
    int64_t t = 0;
    while (t < n && a.tokens[static_cast<std::size_t>(row * a.positions + t)] ==
                        b.tokens[static_cast<std::size_t>(row * b.positions + t)]) {
      ++t;
    }
    common.push_back(t);
  }
  return common;
}

int significand_of(golden::DType type) {
  switch (type) {
    case golden::DType::bfloat16:
      return 8;
    case golden::DType::float16:
      return 11;
    case golden::DType::float32:
      return 24;
    case golden::DType::float64:
      return 53;
    default:
      return 0;  // whole numbers
  }
}

Precision precision_of(golden::DType type) {
  return type == golden::DType::bfloat16  ? Precision::bf16
         : type == golden::DType::float16 ? Precision::fp16
         : type == golden::DType::float32 ? Precision::fp32
                                          : Precision::fp64;
}

// The type of the two that has fewer bits; nothing where they are the same, or one of them counts.
std::optional<golden::DType> coarser_type(golden::DType a, golden::DType b) {
  const int one = significand_of(a), other = significand_of(b);
  if (a == b || one == 0 || other == 0) return std::nullopt;
  return one < other ? a : b;
}

// The coarser of what two dumps say that they compute in; "" where neither says it.
std::string coarser_storage(const std::string& a, const std::string& b) {
  for (const char* storage : {"bf16", "fp16", "fp32", "fp64"}) {
    if (a == storage || b == storage) return storage;
  }
  return a.empty() ? b : a;
}

}  // namespace

bool is_whole(golden::DType type) { return significand_of(type) == 0; }

RecordedPair::RecordedPair(const RecordedRun& a, const RecordedRun& b, const AxesOptions& axes,
                           const std::string& ignored)
    : options_(axes),
      path_a_(a.dump),
      path_b_(b.dump),
      subject_a_(a, ignored),
      subject_b_(b, ignored),
      batch_a_(subject_a_.batch()),
      batch_b_(subject_b_.batch()),
      swapped_(batch_b_.positions > batch_a_.positions) {
  if (batch_a_.batch != batch_b_.batch) {
    throw InputError(fmt::format("{}, {}: expected as many rows of tokens, got {} and {}", a.dump,
                                 b.dump, batch_a_.batch, batch_b_.batch));
  }
  common_ = common_positions(batch_a_, batch_b_);
  if (*std::max_element(common_.begin(), common_.end()) == 0) {
    throw InputError(fmt::format("{}, {}: expected tokens that begin alike, got other first ones",
                                 a.dump, b.dump));
  }
  names_ = subject_a_.names();
  names_.merge(subject_b_.names());
  check_named(axes, ignored, names_);
  read();
  judge();
}

PairedTensor RecordedPair::paired(const JudgedTensor& tensor) const {
  const std::size_t j = index_of(*shorter_, tensor.name);
  return {tensor.name, longer_->tensor(tensor.index).tensor, shorter_->tensor(j).tensor};
}

// Neither --ignore nor --axis NAME=none names it.
bool RecordedPair::is_asked(const std::string& name) const {
  if (subject_a_.is_ignored(name)) return false;
  for (const GivenAxis& given : options_.given) {
    if (golden::matches(given.pattern, name)) return given.axis.has_value();
  }
  return true;
}

// Tensors that are stored in two types are rounded to the coarser one.
std::map<std::string, golden::DType> RecordedPair::round_to_coarser() {
  std::map<std::string, golden::DType> coarser;
  const std::set<std::string> a = subject_a_.names(), b = subject_b_.names();
  for (const std::string& name : a) {
    const bool is_read = b.contains(name) && !subject_a_.unreadable().contains(name) &&
                         !subject_b_.unreadable().contains(name);
    if (!is_read) continue;
    const auto type = coarser_type(subject_a_.dtype_of(name), subject_b_.dtype_of(name));
    if (!type) continue;
    coarser[name] = *type;
    subject_a_.round(name, precision_of(*type));
    subject_b_.round(name, precision_of(*type));
  }
  return coarser;
}

void RecordedPair::read() {
  const std::map<std::string, golden::DType> coarser = round_to_coarser();
  RecordedSubject& one = swapped_ ? subject_b_ : subject_a_;
  RecordedSubject& other = swapped_ ? subject_a_ : subject_b_;
  longer_.emplace(one, Layouts{}, swapped_ ? batch_b_ : batch_a_);
  shorter_.emplace(other, Layouts{}, swapped_ ? batch_a_ : batch_b_);
  rounding_ = rounding_of(*longer_, coarser_storage(subject_a_.storage(), subject_b_.storage()));
  paired_batch_ = {.rows = batch_a_.batch,
                   .positions = longer_->positions(),
                   .shorter_positions = shorter_->positions(),
                   .shared = common_};
  for (std::size_t i = 0; i < longer_->tensors(); ++i) add_tensor(longer_->name(i), i);
  find_missing();
  note_types(coarser);
}

void RecordedPair::find_missing() {
  const std::set<std::string> a = subject_a_.names(), b = subject_b_.names();
  for (const std::string& name : names_) {
    if (!is_asked(name)) continue;
    if (!a.contains(name)) missing_[name] = "only in " + path_b_;
    if (!b.contains(name)) missing_[name] = "only in " + path_a_;
    for (const RecordedSubject* subject : {&subject_a_, &subject_b_}) {
      const auto it = subject->unreadable().find(name);
      if (it != subject->unreadable().end()) missing_[name] = it->second;
    }
  }
}

// Where two types meet, what the coarser one rounds is allowed for.
void RecordedPair::note_types(const std::map<std::string, golden::DType>& coarser) {
  const std::string storage_a = subject_a_.storage(), storage_b = subject_b_.storage();
  const bool differ = !storage_a.empty() && !storage_b.empty() && storage_a != storage_b;
  for (JudgedTensor& tensor : tensors_) {
    const auto type = coarser.find(tensor.name);
    if (type != coarser.end()) {
      const Precision precision = precision_of(type->second);
      tensor.types = fmt::format(
          "{} and {}, both rounded to {}", golden::dtype_name(subject_a_.dtype_of(tensor.name)),
          golden::dtype_name(subject_b_.dtype_of(tensor.name)), golden::precision_name(precision));
      tensor.rounding = declared_rounding(precision);
    } else if (differ) {
      tensor.types = fmt::format("of runs in {} and {}", storage_a, storage_b);
      tensor.rounding = rounding_;
    }
  }
}

void RecordedPair::add_tensor(const std::string& name, std::size_t index) {
  if (index_of(*shorter_, name) == shorter_->tensors()) return;  // told apart by only_
  JudgedTensor tensor{.name = name, .index = index};
  const PairedTensor both = paired(tensor);
  const Readings found = readings_of(both, paired_batch_, options_);
  tensor.problem = found.problem;
  tensor.is_left_out = found.is_left_out;
  if (!found.problem.empty() && !found.is_misshaped && !found.is_left_out) {
    const auto same = [](double x, double y) {
      return std::bit_cast<uint64_t>(x) == std::bit_cast<uint64_t>(y);
    };
    tensor.is_left_out = std::equal(both.longer.values.begin(), both.longer.values.end(),
                                    both.shorter.values.begin(), both.shorter.values.end(), same);
  }
  for (const Layout& layout : found.layouts) add_readings(tensor, layout);
  tensors_.push_back(std::move(tensor));
}

// One that tells no rows apart may be of the row that shares the fewest positions or the most.
void RecordedPair::add_readings(JudgedTensor& tensor, const Layout& layout) const {
  if (layout.has_rows()) {
    tensor.readings.push_back({.layout = layout, .shared = common_});
    return;
  }
  const auto [least, most] = std::minmax_element(common_.begin(), common_.end());
  tensor.readings.push_back({.layout = layout, .shared = {*least}});
  if (*most != *least) tensor.readings.push_back({.layout = layout, .shared = {*most}});
}

void RecordedPair::judge() {
  std::size_t rounds = 0;
  for (const JudgedTensor& tensor : tensors_) rounds = std::max(rounds, tensor.readings.size());
  for (std::size_t round = 0; round < rounds; ++round) compare(round);
  for (JudgedTensor& tensor : tensors_) settle(tensor);
}

// Reads every tensor that has so many readings in the next of its ways.
void RecordedPair::compare(std::size_t round) {
  std::map<std::string, JudgedTensor*> read;
  for (JudgedTensor& tensor : tensors_) {
    if (round < tensor.readings.size()) read[tensor.name] = &tensor;
  }
  for (std::optional<Recording>* run : {&longer_, &shorter_}) {
    (*run)->lay_out([&](const std::string& name, const golden::Shape&) {
      const auto it = read.find(name);
      return it == read.end() ? Layout{} : it->second->readings[round].layout;
    });
  }
  Within within = same_rows(batch_a_.batch);
  within.whole_numbers = true;
  for (const Apart& at : positions_apart(*longer_, *shorter_, within)) {
    JudgedTensor& tensor = *read.at(longer_->name(at.index));
    add(at, tensor, tensor.readings[round]);
  }
}

void RecordedPair::add(const Apart& at, const JudgedTensor& tensor, Reading& reading) const {
  const int64_t shared = reading.layout.has_rows()
                             ? reading.shared[static_cast<std::size_t>(at.row)]
                             : reading.shared.front();
  if (at.position >= shared) {
    reading.later_differs = reading.later_differs || at.bits;
    return;
  }
  ++reading.compared;
  const Past past = past_of(at, tensor);
  if (past <= reading.past) return;
  reading.past = past;
  reading.worst = at;
  reading.worst_shared = shared;
}

Past RecordedPair::past_of(const Apart& at, const JudgedTensor& tensor) const {
  if (!at.bits) return Past::same;
  if (tensor.rounding) {
    if (at.difference == 0) return Past::same;
    return at.size <= tensor.rounding->whole ? Past::doubtful : Past::differs;
  }
  if (one_length()) return at.size <= rounding_.faint ? Past::doubtful : Past::differs;
  if (at.difference == 0) return Past::same;
  if (is_whole(longer_->tensor(at.index).dtype)) return Past::doubtful;
  const Size size = size_of(rounding_, at.size);
  return size == Size::rounding   ? Past::same
         : size == Size::doubtful ? Past::doubtful
                                  : Past::differs;
}

// Whether a tensor that is clean read one way is not what the other way says: later tokens would
// not show where they have to.
bool RecordedPair::rules_out(const JudgedTensor& tensor, const Reading& clean,
                             const Reading& other) const {
  constexpr double kClearly = 0.9;
  constexpr int64_t kFew = 8;  // elements that may be the same by chance
  const bool are_flat = !clean.layout.has('T') && !other.layout.has('T');
  if (!one_length()) return are_flat;  // positions of which no two stand side by side in both
  if (clean.layout.axes == other.layout.axes) return false;
  PairedBatch batch = paired_batch_;
  const auto later_of = [&](const Reading& reading) {
    if (!reading.layout.has_rows()) batch.shared.assign(common_.size(), reading.shared.front());
    const Later later = later_elements(paired(tensor), reading.layout, batch);
    batch.shared = common_;
    return later;
  };
  const Later due = later_of(clean), got = later_of(other);
  if (got.same < kFew) return false;
  return got.part() <= kClearly * due.part() || due.same == 0;
}

// Leaves one reading of a tensor where they agree, or where one rules out all that say otherwise.
void RecordedPair::settle(JudgedTensor& tensor) const {
  std::vector<Reading>& readings = tensor.readings;
  if (readings.empty()) return;
  std::optional<Reading> chosen;
  const auto is = [&](Past past) {
    return std::all_of(readings.begin(), readings.end(),
                       [&](const Reading& reading) { return reading.past == past; });
  };
  if (is(Past::same) || is(Past::differs)) chosen = readings.front();
  for (const Reading& clean : readings) {
    if (chosen) break;
    const bool is_it = clean.past == Past::same && clean.compared > 0 &&
                       std::all_of(readings.begin(), readings.end(), [&](const Reading& other) {
                         return other.past == Past::same || rules_out(tensor, clean, other);
                       });
    if (is_it) chosen = clean;
  }
  if (chosen) readings = {*chosen};
  if (readings.size() == 1 && readings.front().compared == 0) {
    tensor.problem = "no position that both runs share";
  }
}

std::string RecordedPair::shapes_text(const std::string& name) const {
  const Recording &a = swapped_ ? *shorter_ : *longer_, &b = swapped_ ? *longer_ : *shorter_;
  const auto shape_in = [&](const Recording& run) {
    const std::size_t i = index_of(run, name);
    return i < run.tensors() ? golden::shape_text(run.tensor(i).tensor.shape) : std::string();
  };
  const std::string one = shape_in(a), other = shape_in(b);
  if (one.empty() || other.empty() || one == other) return one.empty() ? other : one;
  return fmt::format("{} and {}", one, other);
}

}  // namespace assay::verify
