#include "verify/judge/decoding.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"
#include "verify/judge/decoded.h"
#include "verify/judge/stopwatch.h"
#include "verify/subjects/program.h"

namespace assay::verify {
namespace {

constexpr const char* kCheckName = "numerics: decode";

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
PartTensors decoded_by(Subject& subject, const Batch& batch, const Chunking& chunking,
                       const std::map<std::string, Places>& wanted, const Batch& others) {
  try {
    return decode_in(subject, batch, chunking, wanted, others);
  } catch (const Unsupported&) {
    throw;
  } catch (const UnreadableInput&) {
    throw;
  } catch (const InputError& refusal) {
    throw SubjectFailure(fmt::format("decoded {}: {}", chunking.what, refusal.what()));
  }
}

}  // namespace

DecodingJudge::DecodingJudge(const Case& file, Subject& subject, const KeptValues& kept,
                             Decoding wanted, bool every_cache, std::string command)
    : file_(file),
      subject_(subject),
      kept_(kept),
      wanted_(wanted),
      every_cache_(every_cache || wanted == Decoding::asked),
      command_(std::move(command)),
      can_(subject.capabilities()),
      counts_(positions_that_count(file.batch, can_.reads_mask)) {}

bool DecodingJudge::wants(const std::string& name) const {
  return wanted_ != Decoding::off && can_.can_decode && subject_.decodes(name);
}

std::map<std::string, Places> DecodingJudge::places_of_all() const {
  std::map<std::string, Places> all;
  for (const std::string& name : kept_.names()) {
    if (wants(name)) all[name] = kept_.places(name);
  }
  return all;
}

std::string DecodingJudge::find_why_not() const {
  if (!can_.can_decode) return "it keeps no cache";
  if (places_of_all().empty()) return "no tensor that a cache gives is judged";
  if (hears_the_future(file_.golden.header().config)) {
    return "the model hears from later positions: there is no cache of it";
  }
  if (can_.fixed_length > 0) {
    return fmt::format("it takes {} positions only", can_.fixed_length);
  }
  for (int64_t b = 0; b < file_.batch.batch; ++b) {
    for (int64_t t = 0; t < file_.batch.positions; ++t) {
      if (counts_(b, t)) return "";
    }
  }
  return can_.reads_mask ? "every position is padding"
                         : "every row begins with padding, and it does not say that it reads masks";
}

std::vector<PartResult> DecodingJudge::decode_each(const std::vector<Chunking>& list,
                                                   const Ledger& own) {
  // The first of several meets a cache that is new; the others one in which all places were taken.
  constexpr int64_t kFew = 5;
  const std::map<std::string, Places> wanted = places_of_all();
  const int64_t T = file_.batch.positions, V = file_.golden.header().config.vocab_size;
  int64_t taken = list.size() > 1 ? 0 : std::min(kFew, T);
  std::vector<PartResult> results;
  for (const Chunking& chunking : list) {
    const Batch others = other_tokens(file_.batch, taken, V);
    for (auto& [name, tensor] : decoded_by(subject_, file_.batch, chunking, wanted, others)) {
      results.push_back({chunking.what, name, std::move(tensor), {}});
      results.back().seen = kept_.compare(results.back(), own, counts_, {});
    }
    taken = T;
  }
  return results;
}

std::vector<PartResult> DecodingJudge::decode_all(const Ledger& own) {
  std::vector<std::string> names;
  for (const auto& [name, places] : places_of_all()) names.push_back(name);
  const Looking looking(
      subject_,
      [&](const std::string& name) {
        return wants(name) && kept_.has(name) ? Interest::useful : Interest::none;
      },
      names);
  const int64_t B = file_.batch.batch, T = file_.batch.positions;
  const golden::ModelConfig& config = file_.golden.header().config;
  const int64_t seen = config.window == 0 ? 0 : config.window + config.sink_tokens;
  const bool ragged = can_.decodes_ragged && B > 1;
  std::vector<PartResult> results =
      decode_each(chunkings(B, T, seen, ragged, wanted_ == Decoding::asked), own);
  // Of logits behind pieces that all end in padding none counts, and of a row whose real positions
  // are all in its first piece; one by one all are there.
  const bool none = std::all_of(results.begin(), results.end(),
                                [](const PartResult& result) { return result.seen.cached == 0; });
  if (none && !results.empty()) results = decode_each(chunkings(B, T, seen, ragged, true), own);
  for (const Cache& cache : every_cache_ ? subject_.caches(T) : std::vector<Cache>{}) {
    subject_.use_cache(cache.name);
    std::vector<Chunking> through{uneven_pieces(B, T, ragged, cache)};
    if (T > 2) through.push_back(behind_a_prompt(B, T, seen, cache));
    for (PartResult& result : decode_each(through, own)) {
      results.push_back(std::move(result));
    }
  }
  subject_.use_cache("");
  sort_by_computation(file_, results);
  return results;
}

Check DecodingJudge::conclude_all(const std::vector<PartResult>& results) {
  Check check{.name = kCheckName, .summary = {}, .details = {}};
  int64_t elements = 0, cached = 0;
  for (const PartResult& result : results) {
    elements += result.seen.elements;
    cached += result.seen.cached;
  }
  if (elements == 0) {
    check.status = Status::inconclusive;
    check.summary = "decoding hands over no tensor of the golden file that can be compared";
    return check;
  }
  const HowRun about{"decoded", can_.decodes_same_bits, command_,
                     file_.golden.header().config.window_kind == golden::WindowKind::dynamic};
  if (const PartResult* first = conclude(results, about, subject_, check)) {
    diverged_ = first->name;
    first_divergence_ = {check.details.front(), check.details.back()};
  } else if (cached == 0) {
    why_not_ = "nothing that it hands over, at a position that counts, reads what the cache held";
  }
  return check;
}

std::optional<Check> DecodingJudge::judge(const Ledger& own, const std::function<Widen()>& widen) {
  if (wanted_ == Decoding::off) return std::nullopt;
  Stopwatch watch;
  Check check{.name = kCheckName, .summary = {}, .details = {}};
  why_not_ = find_why_not();
  try {
    if (why_not_.empty()) {
      std::vector<PartResult> results = decode_all(own);
      look_again(kept_, own, counts_, widen, results);
      check = conclude_all(results);
    }
  } catch (const Unsupported& unsupported) {
    why_not_ = unsupported.what();
  } catch (const SubjectFailure& failure) {
    check.status = Status::fail;
    check.summary = failure.what();
  }
  if (!why_not_.empty()) {
    if (wanted_ != Decoding::asked) return std::nullopt;
    check = {.name = kCheckName, .status = Status::skipped, .summary = why_not_, .details = {}};
  }
  check.seconds = watch.lap();
  return check;
}

}  // namespace assay::verify
