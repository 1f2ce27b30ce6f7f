#include "verify/decoders/decoders.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "golden/contract/error.h"
#include "verify/decoders/detect.h"
#include "verify/decoders/survey.h"
#include "verify/subjects/refusal.h"

namespace assay::verify {

// Of verify/leakage, as they are.
Check detect_state(Experiment& experiment);
Check detect_prefix(Experiment& experiment);
Check detect_batch(Experiment& experiment);
Check detect_labels(Experiment& experiment);

double Decoder::beyond_noise(const Apart& at) const {
  const std::vector<double>& noise = experiment.ground().sameness.noise;
  return at.index < noise.size() && at.difference <= noise[at.index] ? 0 : at.size;
}

std::string doubtful_text(const Rounding& rounding) {
  return fmt::format(
      "more than rounding in {} brings ({:.2g} of the largest value), less than bf16 inside might: "
      "a 'storage' in its answer to hello says which it is",
      rounding_text(rounding), rounding.whole);
}

namespace {

using Detect = std::function<Check()>;

// The check of one detector; a subject that refuses what it asks leaves it inconclusive.
Check timed(const char* name, const Detect& detect) {
  const auto start = std::chrono::steady_clock::now();
  Check check{.name = name, .status = Status::inconclusive, .summary = "", .details = {}};
  try {
    check = detect();
  } catch (const SubjectRefusal& refusal) {
    check.summary = fmt::format("it refuses what this asks: {}", refusal.what());
  }
  check.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ASSAY_CHECK(check.name == name, check.name + ", " + name);
  return check;
}

struct Row {
  const char* name;
  Detect detect;
  bool runs = true;  // it is asked of this subject
};

std::vector<Row> rows_of(Experiment& experiment, const Decoder& decoder) {
  const Capabilities can = experiment.subject().capabilities();
  const bool has_positions = experiment.base().elements() > 0;
  return {
      {"state", [&] { return detect_state(experiment); }},
      {"influence", [&] { return detect_reach(decoder); }, has_positions},
      {"prefix", [&] { return detect_prefix(experiment); }, has_positions},
      {"batch", [&] { return detect_batch(experiment); }},
      {"order", [&] { return detect_order(decoder); }, has_positions},
      {"length", [&] { return detect_length(decoder); }, has_positions && can.fixed_length == 0},
      {"labels", [&] { return detect_labels(experiment); }},
      {"padding", [&] { return detect_padding(decoder); }, has_positions && can.reads_mask},
      {"decode", [&] { return detect_decode(decoder); }, has_positions && can.can_decode}};
}

}  // namespace

LeakResult judge_decoder(Subject& subject, int64_t vocab_size, const Batch& batch,
                         const DecoderOptions& options) {
  if (vocab_size < 2) {
    throw InputError(
        fmt::format("--vocab {}: expected at least 2 tokens to choose from", vocab_size));
  }
  const auto begin = [&](const char* name) {
    if (options.begins) options.begins(name);
  };
  Chosen chosen(subject, options.ignored);
  begin("tensors");
  const auto start = std::chrono::steady_clock::now();
  Survey found = survey(chosen, batch, vocab_size, options.axes, options.storage);
  found.check.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const LeakOptions leak_options{.seed = options.seed, .suffixes = options.suffixes};
  const Ground ground{.vocab_size = vocab_size,
                      .layouts = found.layouts,
                      .sameness = {.rounding = found.rounding.faint, .may_vary = true},
                      .shape_shows = found.shape_shows};
  Experiment experiment(chosen, ground, batch, leak_options);
  const Decoder decoder{experiment, found.rounding};
  LeakResult result;
  begin("repeat");
  result.checks = {found.check,
                   timed("repeat", [&] { return detect_rerun(decoder, found.first); })};
  if (result.checks.back().status != Status::fail) {
    for (const Row& row : rows_of(experiment, decoder)) {
      if (!row.runs) continue;
      begin(row.name);
      result.checks.push_back(timed(row.name, row.detect));
    }
  }
  for (const std::string& name : experiment.varying()) {
    result.checks.front().details.push_back(
        fmt::format("judged only where its shape was the same: {}: the tokens choose it", name));
  }
  if (const auto& leak = experiment.first_leak()) {
    result.leaks = true;
    result.tensor = leak->tensor;
    result.t = leak->t;
    result.s = leak->s;
  }
  const bool any_seen = std::any_of(result.checks.begin(), result.checks.end(),
                                    [](const Check& check) { return check.name == "influence"; });
  if (any_seen) result.influence = experiment.influence();
  result.runs = found.runs + experiment.runs();
  return result;
}

}  // namespace assay::verify
