#include "verify/judge/decoding.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "verify/decoders/rounding.h"
#include "verify/subjects/program.h"

namespace assay::verify {
namespace {

using reference::Array;

constexpr const char* kCheckName = "numerics: decode";

bool same_value(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// A later position may change an earlier one: there is no cache of such a model.
bool hears_the_future(const golden::ModelConfig& config) {
  return golden::find_method(config.method).family == golden::Family::prob_transformer &&
         !config.pt.causal_heads;
}

// Squares and largest values of what was compared.
struct Sums {
  double golden_sq = 0, bound_sq = 0, apart = 0, largest = 0;
  int64_t bounded = 0;

  void add(const DecodedSeen::At& at) {
    if (!std::isfinite(at.bound)) return;
    ++bounded;
    golden_sq += at.golden * at.golden;
    bound_sq += at.bound * at.bound;
    largest = std::max(largest, std::fabs(at.own));
    apart = std::max(apart, std::isfinite(at.decoded) ? std::fabs(at.decoded - at.own) : HUGE_VAL);
  }
  void finish(DecodedSeen& seen) const {
    const auto n = static_cast<double>(std::max<int64_t>(1, bounded));
    seen.golden_rms = std::sqrt(golden_sq / n);
    seen.bound_rms = std::sqrt(bound_sq / n);
    seen.apart = apart == 0 ? 0 : apart / largest;
  }
};

double ratio_of(const DecodedSeen::At& at) {
  const double error = std::fabs(at.decoded - at.golden);
  if (same_value(at.decoded, at.golden) || error == 0) return 0;
  return std::isfinite(error) ? error / at.bound : HUGE_VAL;
}

void add_to(DecodedSeen& seen, const DecodedSeen::At& at, bool is_compared) {
  if (!same_value(at.decoded, at.own) && seen.other_bits++ == 0) seen.first_other = at;
  if (!is_compared) return;
  ++seen.elements;
  const double ratio = ratio_of(at);
  if (ratio > seen.ratio || seen.worst.t < 0) seen.worst = at;
  seen.ratio = std::max(seen.ratio, ratio);
  if (!within(at.golden, at.decoded, at.bound) && seen.outside++ == 0) seen.first = at;
}

std::string place_of(const DecodedSeen::At& at) {
  return fmt::format("row {}, position {}", at.b, at.t);
}

std::string difference_text(const DecodedResult& result) {
  const DecodedSeen& seen = result.seen;
  if (seen.outside > 0) {
    return fmt::format(
        "{} decoded {}: {} of {} elements outside, first at {}: golden {:.9g}, decoded {:.9g}, "
        "bound {:.3g}; a whole run gives {:.9g}",
        result.name, result.what, seen.outside, seen.elements, place_of(seen.first),
        seen.first.golden, seen.first.decoded, seen.first.bound, seen.first.own);
  }
  return fmt::format(
      "{} decoded {}: {} elements have other bits than in a whole run, which are promised, first "
      "at {}: decoded {:.9g}, a whole run gives {:.9g}",
      result.name, result.what, seen.other_bits, place_of(seen.first_other),
      seen.first_other.decoded, seen.first_other.own);
}

// The names, each once.
template <class Field>
std::vector<std::string> distinct(const std::vector<DecodedResult>& results, Field field) {
  std::vector<std::string> list;
  for (const DecodedResult& result : results) {
    const std::string& text = result.*field;
    if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
  }
  return list;
}

std::string names_text(const std::vector<std::string>& names) {
  return names.size() <= 3 ? fmt::format("{}", fmt::join(names, ", "))
                           : fmt::format("{} and {} more tensors", names[0], names.size() - 1);
}

// The first positions of the batch, with other tokens at each.
Batch other_tokens(const Batch& batch, int64_t positions, int64_t vocab_size) {
  Batch others;
  others.batch = batch.batch;
  others.positions = positions;
  for (int64_t b = 0; b < batch.batch; ++b) {
    for (int64_t t = 0; t < positions; ++t) {
      const int64_t token = batch.tokens[static_cast<std::size_t>(b * batch.positions + t)];
      others.tokens.push_back(static_cast<int32_t>((token + 1) % vocab_size));
    }
  }
  others.attention_mask.assign(others.tokens.size(), 1);
  others.labels.assign(others.tokens.size(), -100);
  return others;
}

// What it refuses of what it can is a failure of its own.
DecodedTensors decoded_by(Subject& subject, const Batch& batch, const Chunking& chunking,
                          const std::map<std::string, Places>& wanted, const Batch& others) {
  try {
    return decode_in(subject, batch, chunking, wanted, others);
  } catch (const Unsupported&) {
    throw;
  } catch (const InputError& refusal) {
    throw SubjectFailure(fmt::format("decoded {}: {}", chunking.what, refusal.what()));
  }
}

}  // namespace

DecodingJudge::DecodingJudge(const Case& file, Subject& subject, Decoding wanted,
                             std::string command)
    : file_(file),
      subject_(subject),
      wanted_(wanted),
      command_(std::move(command)),
      can_(subject.capabilities()) {}

void DecodingJudge::keep(const FreeComparison& seen) {
  const std::string& name = seen.row.name;
  if (wanted_ == Decoding::off || !can_.can_decode || !has_positions(seen.row.axes)) return;
  if (!subject_.decodes(name)) return;
  if (scratch_ == nullptr) scratch_ = std::make_unique<Scratch>();
  const bool exact = seen.deviation.absent();
  kept_[name] = {places_of(seen.row.axes, seen.row.shape), seen.rule, exact};
  scratch_->put("golden/" + name, seen.golden);
  if (!exact) scratch_->put("deviation/" + name, seen.deviation);
}

std::string DecodingJudge::find_why_not() const {
  if (!can_.can_decode) return "it keeps no cache";
  if (kept_.empty()) return "no tensor that a cache gives is judged";
  if (hears_the_future(file_.golden.header().config)) {
    return "the model hears from later positions: there is no cache of it";
  }
  if (can_.fixed_length > 0) {
    return fmt::format("it takes {} positions only", can_.fixed_length);
  }
  for (int64_t b = 0; b < file_.batch.batch; ++b) {
    for (int64_t t = 0; t < file_.batch.positions; ++t) {
      if (is_compared(b, t)) return "";
    }
  }
  return can_.reads_mask ? "every position is padding"
                         : "every row begins with padding, and it does not say that it reads masks";
}

// What padding computes is nobody's; behind it only who looks at the mask is right.
bool DecodingJudge::is_compared(int64_t b, int64_t t) const {
  const auto row = file_.batch.attention_mask.begin() + b * file_.batch.positions;
  if (can_.reads_mask) return row[t] != 0;
  return std::all_of(row, row + t + 1, [](uint8_t real) { return real != 0; });
}

DecodedSeen DecodingJudge::compare(const DecodedResult& result, const Ledger& own,
                                   const Widen& widen) const {
  const Kept& kept = kept_.at(result.name);
  const Places& places = kept.places;
  const Array golden = scratch_->get("golden/" + result.name), run = own.values(result.name);
  Array deviation = kept.exact ? Array() : scratch_->get("deviation/" + result.name);
  if (widen && !kept.exact) deviation = widen(result.name, deviation);
  const bool reads_cache =
      file_.graph->find(result.name) > file_.graph->find("layers/0/attn/scores");
  DecodedSeen seen;
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
          const DecodedSeen::At at{b,
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

bool DecodingJudge::fails(const DecodedSeen& seen) const {
  return seen.outside > 0 || (can_.decodes_same_bits && seen.other_bits > 0);
}

std::vector<DecodedResult> DecodingJudge::decode_each(const std::vector<Chunking>& list,
                                                      const std::map<std::string, Places>& wanted,
                                                      const Ledger& own) {
  // The first of several meets a cache that is new; the others one in which all places were taken.
  constexpr int64_t kFew = 5;
  const int64_t T = file_.batch.positions, V = file_.golden.header().config.vocab_size;
  int64_t taken = list.size() > 1 ? 0 : std::min(kFew, T);
  std::vector<DecodedResult> results;
  for (const Chunking& chunking : list) {
    const Batch others = other_tokens(file_.batch, taken, V);
    for (auto& [name, tensor] : decoded_by(subject_, file_.batch, chunking, wanted, others)) {
      results.push_back({chunking.what, name, std::move(tensor), {}});
      results.back().seen = compare(results.back(), own, {});
    }
    taken = T;
  }
  return results;
}

std::vector<DecodedResult> DecodingJudge::decode_all(const Ledger& own) {
  std::map<std::string, Places> wanted;
  std::vector<std::string> names;
  for (const auto& [name, kept] : kept_) {
    wanted[name] = kept.places;
    names.push_back(name);
  }
  const Looking looking(
      subject_,
      [&](const std::string& name) {
        return wanted.contains(name) ? Interest::useful : Interest::none;
      },
      names);
  const int64_t B = file_.batch.batch, T = file_.batch.positions;
  const bool ragged = can_.decodes_ragged && B > 1;
  std::vector<DecodedResult> results =
      decode_each(chunkings(B, T, ragged, wanted_ == Decoding::asked), wanted, own);
  // Of logits behind pieces that all end in padding none counts, and of a row whose real positions
  // are all in its first piece; one by one all are there.
  const bool none = std::all_of(results.begin(), results.end(), [](const DecodedResult& result) {
    return result.seen.cached == 0;
  });
  if (none && !results.empty()) {
    results = decode_each(chunkings(B, T, ragged, true), wanted, own);
  }
  // In the order of computation, and of each tensor in that of the chunkings.
  std::stable_sort(results.begin(), results.end(), [&](const auto& a, const auto& b) {
    return file_.graph->find(a.name) < file_.graph->find(b.name);
  });
  return results;
}

void DecodingJudge::conclude_failure(const std::vector<DecodedResult>& results, Check& check) {
  const auto first = std::find_if(results.begin(), results.end(),
                                  [&](const DecodedResult& result) { return fails(result.seen); });
  const DecodedSeen::At& at = first->seen.outside > 0 ? first->seen.first : first->seen.first_other;
  check.status = Status::fail;
  check.summary = fmt::format("{} is wrong at {} when it is decoded {}", first->name, place_of(at),
                              first->what);
  constexpr std::size_t kMost = 4;
  std::size_t more = 0;
  for (const DecodedResult& result : results) {
    if (!fails(result.seen)) continue;
    if (check.details.size() < kMost) {
      check.details.push_back(difference_text(result));
    } else {
      ++more;
    }
  }
  const std::string again = fmt::format("     again: {} --only /{}", command_, first->name);
  diverged_ = first->name;
  first_divergence_ = {check.details.front(), again};
  if (more > 0) check.details.push_back(fmt::format("and {} more", more));
  check.details.push_back(again);
}

Check DecodingJudge::conclude(const std::vector<DecodedResult>& results) {
  Check check{.name = kCheckName, .summary = {}, .details = {}};
  int64_t elements = 0, cached = 0;
  const DecodedResult *worst = nullptr, *unsure = nullptr;
  for (const DecodedResult& result : results) {
    elements += result.seen.elements;
    cached += result.seen.cached;
    if (worst == nullptr || result.seen.ratio > worst->seen.ratio) worst = &result;
    const golden::Precision storage = subject_.precision().storage_of(result.name);
    const bool is_own = result.seen.apart <= declared_rounding(storage).whole;
    if (result.seen.shows_little() && !is_own) unsure = &result;
  }
  if (elements == 0) {
    check.status = Status::inconclusive;
    check.summary = "decoding hands over no tensor of the golden file that can be compared";
    return check;
  }
  if (std::any_of(results.begin(), results.end(),
                  [&](const DecodedResult& result) { return fails(result.seen); })) {
    conclude_failure(results, check);
    return check;
  }
  if (cached == 0) {
    why_not_ = "nothing that it hands over, at a position that counts, reads what the cache held";
    return check;
  }
  check.status = unsure == nullptr ? Status::pass : Status::untrusted;
  check.summary = fmt::format(
      "{} decoded {}: {} elements within their bounds{}; largest error / bound {:.3g} at {}",
      names_text(distinct(results, &DecodedResult::name)),
      fmt::join(distinct(results, &DecodedResult::what), ", "), elements,
      can_.decodes_same_bits ? ", bit for bit those of a whole run" : "", worst->seen.ratio,
      place_of(worst->seen.worst));
  if (unsure != nullptr) {
    check.details.push_back(fmt::format(
        "untrusted: {}: its bounds are {:.2g} of the values' rms, and what is decoded {} differs "
        "from a whole run by {:.2g} of the largest value: a wrong cache could do that too",
        unsure->name, unsure->seen.bound_rms / unsure->seen.golden_rms, unsure->what,
        unsure->seen.apart));
  }
  return check;
}

std::optional<Check> DecodingJudge::judge(const Ledger& own, const std::function<Widen()>& widen) {
  if (wanted_ == Decoding::off) return std::nullopt;
  const auto start = std::chrono::steady_clock::now();
  Check check{.name = kCheckName, .summary = {}, .details = {}};
  why_not_ = find_why_not();
  try {
    if (why_not_.empty()) {
      std::vector<DecodedResult> results = decode_all(own);
      const auto outside = [](const DecodedResult& result) { return result.seen.outside > 0; };
      if (std::any_of(results.begin(), results.end(), outside)) {
        if (const Widen wider = widen ? widen() : Widen{}) {
          for (DecodedResult& result : results) {
            if (outside(result)) result.seen = compare(result, own, wider);
          }
        }
      }
      check = conclude(results);
    }
  } catch (const Unsupported& unsupported) {
    why_not_ = unsupported.what();
  } catch (const SubjectFailure& failure) {
    check.status = Status::fail;
    check.summary = failure.what();
  }
  if (!why_not_.empty()) {
    if (wanted_ != Decoding::asked) return std::nullopt;
    check.status = Status::skipped;
    check.summary = why_not_;
  }
  check.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return check;
}

}  // namespace assay::verify
