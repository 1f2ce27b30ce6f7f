#include "verify/judge/parts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "verify/decoders/rounding.h"
#include "verify/subjects/rows.h"

namespace assay::verify {
namespace {

using reference::Array;

bool same_value(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// Squares and largest values of what was compared.
struct Sums {
  double golden_sq = 0, bound_sq = 0, apart = 0, largest = 0;
  int64_t bounded = 0;

  void add(const PartSeen::At& at) {
    if (!std::isfinite(at.bound)) return;
    ++bounded;
    golden_sq += at.golden * at.golden;
    bound_sq += at.bound * at.bound;
    largest = std::max(largest, std::fabs(at.own));
    apart = std::max(apart, std::isfinite(at.part) ? std::fabs(at.part - at.own) : HUGE_VAL);
  }
  void finish(PartSeen& seen) const {
    const auto n = static_cast<double>(std::max<int64_t>(1, bounded));
    seen.golden_rms = std::sqrt(golden_sq / n);
    seen.bound_rms = std::sqrt(bound_sq / n);
    seen.apart = apart == 0 ? 0 : apart / largest;
  }
};

double ratio_of(const PartSeen::At& at) {
  const double error = std::fabs(at.part - at.golden);
  if (same_value(at.part, at.golden) || error == 0) return 0;
  return std::isfinite(error) ? error / at.bound : HUGE_VAL;
}

void add_to(PartSeen& seen, const PartSeen::At& at, bool is_compared) {
  if (!same_value(at.part, at.own) && seen.other_bits++ == 0) seen.first_other = at;
  if (!is_compared) return;
  ++seen.elements;
  const double ratio = ratio_of(at);
  if (ratio > seen.ratio || seen.worst.t < 0) seen.worst = at;
  seen.ratio = std::max(seen.ratio, ratio);
  if (!within(at.golden, at.part, at.bound) && seen.outside++ == 0) seen.first = at;
}

std::string place_of(const PartSeen::At& at) {
  return fmt::format("row {}, position {}", at.b, at.t);
}

std::string difference_text(const PartResult& result, const std::string& verb) {
  const PartSeen& seen = result.seen;
  if (seen.outside > 0) {
    return fmt::format(
        "{} {} {}: {} of {} elements outside, first at {}: golden {:.9g}, got {:.9g}, bound "
        "{:.3g}; "
        "the whole run gives {:.9g}",
        result.name, verb, result.what, seen.outside, seen.elements, place_of(seen.first),
        seen.first.golden, seen.first.part, seen.first.bound, seen.first.own);
  }
  return fmt::format(
      "{} {} {}: {} elements have other bits than in the whole run, which are promised, first at "
      "{}: got {:.9g}, the whole run gives {:.9g}",
      result.name, verb, result.what, seen.other_bits, place_of(seen.first_other),
      seen.first_other.part, seen.first_other.own);
}

// The names, each once.
template <class Field>
std::vector<std::string> distinct(const std::vector<PartResult>& results, Field field) {
  std::vector<std::string> list;
  for (const PartResult& result : results) {
    const std::string& text = result.*field;
    if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
  }
  return list;
}

std::string names_text(const std::vector<std::string>& names) {
  return names.size() <= 3 ? fmt::format("{}", fmt::join(names, ", "))
                           : fmt::format("{} and {} more tensors", names[0], names.size() - 1);
}

// Whether all windows of the run that a result is of have the sizes of the own run.
bool has_own_sizes(const std::vector<PartResult>& results, const PartResult& of) {
  bool any = false;
  for (const PartResult& result : results) {
    if (result.what != of.what || !result.name.ends_with("/attn/window")) continue;
    if (result.seen.other_bits > 0) return false;
    any = true;
  }
  return any;
}

bool fails(const std::vector<PartResult>& results, const PartResult& result, const HowRun& about) {
  const PartSeen& seen = result.seen;
  if (about.same_bits && seen.other_bits > 0) return true;
  return seen.outside > 0 && (!about.sizes_vary || has_own_sizes(results, result));
}

const PartResult& conclude_failure(const std::vector<PartResult>& results, const HowRun& about,
                                   Check& check) {
  constexpr std::size_t kMost = 4;
  const PartResult* first = nullptr;
  std::size_t more = 0;
  for (const PartResult& result : results) {
    if (!fails(results, result, about)) continue;
    if (first == nullptr) first = &result;
    if (check.details.size() < kMost) {
      check.details.push_back(difference_text(result, about.verb));
    } else {
      ++more;
    }
  }
  const PartSeen::At& at = first->seen.outside > 0 ? first->seen.first : first->seen.first_other;
  check.status = Status::fail;
  check.summary = fmt::format("{} is wrong at {} when it is {} {}", first->name, place_of(at),
                              about.verb, first->what);
  if (more > 0) check.details.push_back(fmt::format("and {} more", more));
  check.details.push_back(fmt::format("     again: {} --only /{}", about.command, first->name));
  return *first;
}

}  // namespace

int64_t Places::between() const {
  int64_t count = 1;
  for (std::size_t a = 1; a < axis; ++a) count *= shape[a];
  return count;
}

int64_t Places::inside() const {
  int64_t count = 1;
  for (std::size_t a = axis + 1; a < shape.size(); ++a) count *= shape[a];
  return count;
}

int64_t Places::element(int64_t b, int64_t h, int64_t t) const {
  return ((b * between() + h) * positions() + t) * inside();
}

bool hears_the_future(const golden::ModelConfig& config) {
  return golden::find_method(config.method).family == golden::Family::prob_transformer &&
         !config.pt.causal_heads;
}

IsCompared positions_that_count(const Batch& batch, bool reads_mask) {
  return [&batch, reads_mask](int64_t b, int64_t t) {
    const auto row = batch.attention_mask.begin() + b * batch.positions;
    if (reads_mask) return row[t] != 0;
    return std::all_of(row, row + t + 1, [](uint8_t real) { return real != 0; });
  };
}

Places places_of(const std::string& axes, const golden::Shape& shape) {
  return {shape, axes.find('T')};
}

bool read_values(Observed& observed) {
  if (!observed.problem.empty() || !observed.restrictions.problem.empty()) return false;
  if (!observed.read) return true;
  observed.tensor.values.resize(
      static_cast<std::size_t>(golden::element_count(observed.tensor.shape)));
  try {
    observed.read(observed.tensor.values);
  } catch (const InputError&) {
    if (observed.may_fail) return false;
    throw;
  }
  return true;
}

PartTensor empty_part(const Places& places) {
  return {places,
          std::vector<double>(static_cast<std::size_t>(golden::element_count(places.shape))),
          std::vector<uint8_t>(static_cast<std::size_t>(places.rows() * places.positions()))};
}

void KeptValues::keep(const FreeComparison& seen) {
  const std::string& name = seen.row.name;
  if (!has_positions(seen.row.axes)) return;
  if (scratch_ == nullptr) scratch_ = std::make_unique<Scratch>();
  const bool exact = seen.deviation.absent();
  kept_[name] = {places_of(seen.row.axes, seen.row.shape), seen.rule, exact};
  scratch_->put("golden/" + name, seen.golden);
  if (!exact) scratch_->put("deviation/" + name, seen.deviation);
}

std::vector<std::string> KeptValues::names() const {
  std::vector<std::string> list;
  for (const auto& [name, kept] : kept_) list.push_back(name);
  return list;
}

PartSeen KeptValues::compare(const PartResult& result, const Ledger& own,
                             const IsCompared& is_compared, const Widen& widen) const {
  const Kept& kept = kept_.at(result.name);
  const Places& places = kept.places;
  const Array golden = scratch_->get("golden/" + result.name), run = own.values(result.name);
  Array deviation = kept.exact ? Array() : scratch_->get("deviation/" + result.name);
  if (widen && !kept.exact) deviation = widen(result.name, deviation);
  const bool reads_cache =
      file_.graph->find(result.name) > file_.graph->find("layers/0/attn/scores");
  PartSeen seen;
  Sums sums;
  for (int64_t t = 0; t < places.positions(); ++t) {
    for (int64_t b = 0; b < places.rows(); ++b) {
      const uint8_t given =
          result.tensor.given[static_cast<std::size_t>(b * places.positions() + t)];
      if (given == 0) continue;
      const bool counts = is_compared(b, t);
      if (counts && given == kBehind && reads_cache) {
        seen.cached += places.between() * places.inside();
      }
      for (int64_t h = 0; h < places.between(); ++h) {
        const int64_t first = places.element(b, h, t);
        for (int64_t i = first; i < first + places.inside(); ++i) {
          const PartSeen::At at{b,
                                t,
                                golden.data()[i],
                                result.tensor.values[static_cast<std::size_t>(i)],
                                kept.exact ? 0 : kept.rule(deviation.data()[i]),
                                run.data()[i]};
          add_to(seen, at, counts);
          if (counts) sums.add(at);
        }
      }
    }
  }
  sums.finish(seen);
  return seen;
}

void sort_by_computation(const Case& file, std::vector<PartResult>& results) {
  std::stable_sort(results.begin(), results.end(), [&](const auto& a, const auto& b) {
    return file.graph->find(a.name) < file.graph->find(b.name);
  });
}

void look_again(const KeptValues& kept, const Ledger& own, const IsCompared& is_compared,
                const std::function<Widen()>& widen, std::vector<PartResult>& results) {
  const auto outside = [](const PartResult& result) { return result.seen.outside > 0; };
  if (!widen || std::none_of(results.begin(), results.end(), outside)) return;
  const Widen wider = widen();
  if (!wider) return;
  for (PartResult& result : results) {
    if (outside(result)) result.seen = kept.compare(result, own, is_compared, wider);
  }
}

const PartResult* conclude(const std::vector<PartResult>& results, const HowRun& about,
                           const Subject& subject, Check& check) {
  int64_t elements = 0, other_bits = 0;
  const PartResult *worst = nullptr, *unsure = nullptr, *sized = nullptr;
  for (const PartResult& result : results) {
    if (fails(results, result, about)) return &conclude_failure(results, about, check);
    elements += result.seen.elements;
    other_bits += result.seen.other_bits;
    if (worst == nullptr || result.seen.ratio > worst->seen.ratio) worst = &result;
    const golden::Precision storage = subject.precision().storage_of(result.name);
    const bool is_own = result.seen.apart <= declared_rounding(storage).whole;
    if (result.seen.shows_little() && !is_own) unsure = &result;
    if (result.seen.outside > 0 && sized == nullptr) sized = &result;
  }
  if (sized != nullptr) {
    check.status = Status::untrusted;
    check.summary = fmt::format(
        "{} is outside at {} when it is {} {}: where windows have other sizes than in the whole "
        "run, "
        "and roundings can bring that about, nothing follows",
        sized->name, place_of(sized->seen.first), about.verb, sized->what);
    return nullptr;
  }
  check.status = unsure == nullptr ? Status::pass : Status::untrusted;
  check.summary =
      fmt::format("{} {} {}: {} elements within their bounds{}; largest error / bound {:.3g} at {}",
                  names_text(distinct(results, &PartResult::name)), about.verb,
                  fmt::join(distinct(results, &PartResult::what), ", "), elements,
                  other_bits == 0 ? ", bit for bit those of the whole run" : "", worst->seen.ratio,
                  place_of(worst->seen.worst));
  if (unsure != nullptr) {
    check.details.push_back(fmt::format(
        "untrusted: {}: its bounds are {:.2g} of the values' rms, and what is {} {} differs from "
        "the whole run by {:.2g} of the largest value: a defect could do that too",
        unsure->name, unsure->seen.bound_rms / unsure->seen.golden_rms, about.verb, unsure->what,
        unsure->seen.apart));
  }
  return nullptr;
}

}  // namespace assay::verify
