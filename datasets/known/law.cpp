#include "datasets/known/law.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "datasets/known/makers.h"
#include "datasets/known/sets.h"
#include "golden/contract/error.h"

namespace assay::datasets {
namespace {

struct LawRow {
  KnownLaw law;
  std::unique_ptr<Law> (*make)(Settings&);  // nullptr for the mixture
};

constexpr std::array<LawRow, 8> kLaws{{
    {{"uniform", "vocab=256", "independent, uniform over the vocabulary"}, make_uniform},
    {{"markov", "order=1,vocab=64,sharpness=4,seed=1",
      "Markov chain of any order; its rows are drawn from the seed"},
     make_markov},
    {{"hmm", "states=8,vocab=64,sharpness=8,seed=1",
      "hidden Markov model; its exact forward filter"},
     make_hidden_markov},
    {{"copy", "vocab=64,length=16,noise=0", "random tokens, then the same again, and so on"},
     make_copy},
    {{"induction", "vocab=64,repeat=0.9",
      "what followed a token the last time follows again, else uniform"},
     make_induction},
    {{"brackets", "kinds=4,depth=8,open=0.5", "well nested brackets"}, make_brackets},
    {{"canaries", "vocab=50257,subset=256,first=0",
      "uniform over a stated part of the vocabulary, to be planted in other text"},
     make_canaries},
    {{"mixture", "0.5*LAW+0.5*LAW", "each sequence from one of several laws; by Bayes"}, nullptr},
}};

const LawRow* find_law(const std::string& text) {
  const std::string name = text.substr(0, text.find(':'));
  const auto found = std::find_if(kLaws.begin(), kLaws.end(),
                                  [&](const LawRow& row) { return name == row.law.name; });
  return found == kLaws.end() ? nullptr : &*found;
}

std::string law_names() {
  std::vector<std::string> names;
  for (const LawRow& row : kLaws) names.emplace_back(row.law.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

// "0.3*uniform:vocab=64+0.7*markov": behind "mixture:".
std::unique_ptr<Law> parse_mixture(const std::string& text, const std::string& where) {
  constexpr std::size_t kMostParts = 64;
  std::vector<MixturePart> parts;
  double sum = 0;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('+', at), text.size());
    std::string part = text.substr(at, end - at);
    at = end + 1;
    MixturePart mixed;
    if (const std::size_t star = part.find('*'); star != std::string::npos) {
      const auto [stop, error] = std::from_chars(part.data(), part.data() + star, mixed.weight);
      if (error != std::errc() || stop != part.data() + star || !(mixed.weight > 0) ||
          !std::isfinite(mixed.weight)) {
        throw InputError(fmt::format("{}: weight: expected a number above 0, got '{}'", where,
                                     golden::printable(part.substr(0, star))));
      }
      part = part.substr(star + 1);
    }
    if (part.starts_with("mixture")) {
      throw InputError(where + ": a mixture in a mixture: write its parts out");
    }
    mixed.law = parse_law(part, where);
    sum += mixed.weight;
    parts.push_back(std::move(mixed));
    if (parts.size() > kMostParts) {
      throw InputError(fmt::format("{}: expected at most {} parts, got more", where, kMostParts));
    }
  }
  if (parts.size() < 2) throw InputError(where + ": mixture: expected two laws or more, got one");
  for (MixturePart& part : parts) part.weight /= sum;
  return make_mixture(std::move(parts));
}

}  // namespace

std::unique_ptr<Law> parse_law(const std::string& text, const std::string& where) {
  const LawRow* row = find_law(text);
  if (row == nullptr) {
    throw InputError(
        fmt::format("{}: {}: expected one of {}, then settings, as in "
                    "markov:order=2,vocab=64",
                    where, golden::printable(text), law_names()));
  }
  const std::size_t colon = text.find(':');
  const std::string rest = colon == std::string::npos ? "" : text.substr(colon + 1);
  const std::string named = fmt::format("{}: {}", where, row->law.name);
  if (row->make == nullptr) return parse_mixture(rest, named);
  Settings settings(rest, named);
  std::unique_ptr<Law> law = row->make(settings);
  settings.finish();
  return law;
}

bool names_law(const std::string& text) { return find_law(text) != nullptr; }

std::span<const KnownLaw> known_laws() {
  static const std::vector<KnownLaw> all = [] {
    std::vector<KnownLaw> rows;
    for (const LawRow& row : kLaws) rows.push_back(row.law);
    return rows;
  }();
  return all;
}

KnownRows known_rows(const Law& law, std::span<const int32_t> tokens, int64_t positions,
                     bool with_surprises) {
  KnownRows known;
  known.log_probs.reserve(tokens.size());
  std::unique_ptr<Predictor> predictor;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i % static_cast<std::size_t>(positions) == 0) predictor = law.begin();
    if (with_surprises) known.surprises.push_back(predictor->surprise());
    const double p = predictor->probability(tokens[i]);
    known.log_probs.push_back(p > 0 ? std::log(p) : -std::numeric_limits<double>::infinity());
    predictor->observe(tokens[i]);
  }
  return known;
}

Estimate estimated_entropy_rate(const Law& law) {
  constexpr int64_t kRows = 16, kPositions = 1024;
  const std::vector<int32_t> tokens = draw_rows(law, "entropy rate", 1, kRows, kPositions);
  std::vector<double> means;
  for (int64_t row = 0; row < kRows; ++row) {
    const auto begin = static_cast<std::size_t>(row * kPositions);
    const KnownRows known =
        known_rows(law, std::span(tokens).subspan(begin, kPositions), kPositions, false);
    double sum = 0;  // of the second half: the first learns where the sequence is
    for (std::size_t t = kPositions / 2; t < kPositions; ++t) sum -= known.log_probs[t];
    means.push_back(sum / (kPositions - kPositions / 2));
  }
  double mean = 0, square = 0;
  for (const double value : means) mean += value / kRows;
  for (const double value : means) square += (value - mean) * (value - mean);
  return {mean, std::sqrt(square / (kRows - 1) / kRows)};
}

}  // namespace assay::datasets
