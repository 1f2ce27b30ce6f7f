#include "cli/training/known_oracle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "datasets/known/law.h"
#include "datasets/known/overlap.h"
#include "datasets/known/sets.h"
#include "verify/training/oracle_check.h"

namespace assay::cli {
namespace {

namespace training = verify::training;

void give_probabilities(const datasets::Law& law, training::AlignedSet& aligned) {
  const datasets::KnownRows known =
      datasets::known_rows(law, aligned.sequences, aligned.sequence_positions, true);
  std::vector<training::Expected> expected;
  for (const datasets::Surprise& surprise : known.surprises) {
    expected.push_back({surprise.mean, surprise.variance});
  }
  training::give_oracle(aligned, known.log_probs, expected);
  const std::optional<int64_t> memory = law.memory();
  if (!memory || *memory == 0 || training::oracle_problem(aligned.set).empty()) return;
  training::AlignedSet without = aligned;
  training::leave_out_beginnings(
      without, *memory,
      fmt::format("rows begin inside of sequences: the first {} tokens of each are left out",
                  *memory));
  if (training::oracle_problem(without.set).empty()) aligned = std::move(without);
}

// Of rows of so many positions; of 16 where nobody says how many: nats a token, and how their mean
// varies from row to row.
void give_rows(const datasets::Law& law, std::optional<int64_t> positions,
               training::OracleRate& rate) {
  constexpr int64_t kFewest = 16, kTokens = 16384, kLongest = 256;
  const int64_t length = std::min(kTokens, positions.value_or(kFewest));
  const std::vector<int32_t> tokens =
      datasets::draw_rows(law, "rate", 1, std::max<int64_t>(1, kTokens / length), length);
  const std::vector<double> log_probs = datasets::known_rows(law, tokens, length, false).log_probs;
  const double mean =
      std::reduce(log_probs.begin(), log_probs.end()) / -static_cast<double>(log_probs.size());
  rate.of_rows = mean;
  const auto piece = static_cast<std::size_t>(std::min(length, kLongest));
  double square = 0, pieces = 0;
  for (std::size_t i = 0; i + piece <= log_probs.size(); i += piece) {
    double rest = static_cast<double>(piece) * mean;
    for (std::size_t k = i; k < i + piece; ++k) rest += log_probs[k];
    square += rest * rest;
    ++pieces;
  }
  rate.spread = std::sqrt(square / pieces / static_cast<double>(piece));
}

// Of the counted tokens.
double mean_oracle(const training::TokenSet& set) {
  double sum = 0, tokens = 0;
  for (std::size_t i = 0; i < set.oracle.size(); ++i) {
    if (!set.is_counted(i) || !std::isfinite(set.oracle[i])) continue;
    sum += set.oracle[i];
    ++tokens;
  }
  return tokens > 0 ? sum / tokens : 0;
}

// The window that tells rows apart: half the entropy, for windows of little surprise come again
// more often than the average one.
int64_t window_of(const training::AlignedSet& a, const training::AlignedSet& b) {
  return datasets::telling_window(mean_oracle(a.set) / 2, static_cast<double>(a.sequences.size()),
                                  static_cast<double>(b.sequences.size()));
}

std::vector<int64_t> shared_rows(const training::AlignedSet& a, const training::AlignedSet& b) {
  const int64_t window = window_of(a, b);
  if (window > a.sequence_positions || window > b.sequence_positions) return {};
  return datasets::overlapping_rows(a.sequences, a.sequence_positions, b.sequences,
                                    b.sequence_positions, window);
}

void leave_out_repeated(training::AlignedSet& aligned) {
  if (aligned.sequences.empty() || aligned.set.oracle.empty()) return;
  const int64_t window = window_of(aligned, aligned);
  if (window > aligned.sequence_positions) return;
  training::leave_out(
      aligned.set,
      datasets::overlapping_rows(aligned.sequences, aligned.sequence_positions, {}, 0, window),
      fmt::format("they share {} tokens with an earlier row", window));
}

// Rows of `own` that are in another set; "" and none where nothing is known of either.
struct SharedRows {
  std::vector<int64_t> rows;
  std::string what;
};

SharedRows rows_shared(const AlignedSets& sets, training::Set own, training::Set other) {
  const training::AlignedSet &a = sets[own], &b = sets[other];
  if (a.sequences.empty() || b.sequences.empty() || a.set.oracle.empty()) return {};
  SharedRows shared{shared_rows(a, b), {}};
  shared.what =
      fmt::format("{} of {} rows of {} are in {}, by {} tokens in a row", shared.rows.size(),
                  a.set.rows, training::kSetNames[own],
                  other == training::kTrain ? "the training set" : "val", window_of(a, b));
  return shared;
}

// Fresh tokens are such as nobody has chosen anything by.
void look_for_shared(AlignedSets& sets, training::Evidence& evidence) {
  const SharedRows val = rows_shared(sets, training::kVal, training::kTrain);
  if (!val.rows.empty()) evidence.shared_with_train.push_back(val.what);
  for (const training::Set other : {training::kTrain, training::kVal}) {
    const SharedRows fresh = rows_shared(sets, training::kFresh, other);
    if (fresh.rows.empty()) continue;
    const std::string where = other == training::kTrain ? "the training set" : "val";
    training::TokenSet& set = sets[training::kFresh].set;
    training::leave_out(set, fresh.rows, "they are in " + where);
    const bool most = 2 * static_cast<int64_t>(fresh.rows.size()) > set.rows;
    if (most && evidence.fresh_is.empty()) evidence.fresh_is = where;
  }
}

}  // namespace

void give_law(const std::string& text, AlignedSets& sets, training::Evidence& evidence) {
  const auto law = datasets::parse_law(text, "--oracle");
  if (!evidence.vocab) evidence.vocab = law->vocab_size();
  evidence.is_canaries = text.starts_with("canaries");
  const std::optional<double> constant = law->constant_surprise();
  if (const std::optional<double> rate = law->entropy_rate()) {
    evidence.rate = training::OracleRate{*rate, 0, constant.has_value()};
  } else {
    const datasets::Estimate estimate = datasets::estimated_entropy_rate(*law);
    evidence.rate = training::OracleRate{estimate.value, estimate.standard_error, false};
  }
  if (!constant) give_rows(*law, evidence.positions, *evidence.rate);
  for (training::AlignedSet& aligned : sets) {
    if (!aligned.sequences.empty()) {
      give_probabilities(*law, aligned);
    } else if (constant && !aligned.set.empty() && aligned.set.oracle.empty()) {
      aligned.set.oracle.assign(aligned.set.size(), *constant);
      aligned.set.oracle_resolution = {0, 1e-12, "exact"};
      aligned.set.notes.push_back("no tokens: they are taken to be the oracle's");
    }
  }
}

void finish_sets(AlignedSets& sets, training::Evidence& evidence) {
  look_for_shared(sets, evidence);
  leave_out_repeated(sets[training::kVal]);
  leave_out_repeated(sets[training::kFresh]);
  if (evidence.rate) return;
  for (const training::Set s : {training::kFresh, training::kVal, training::kTrain}) {
    const training::TokenSet& set = sets[s].set;
    if (set.oracle.empty()) continue;
    const auto [low, high] = std::minmax_element(set.oracle.begin(), set.oracle.end());
    evidence.rate = training::OracleRate{mean_oracle(set), 0, *high - *low < 1e-9};
    return;
  }
}

}  // namespace assay::cli
