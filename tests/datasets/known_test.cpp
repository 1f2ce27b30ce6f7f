// Sources of known probabilities: they sum to 1, they are those of the tokens drawn, and the
// entropy rate is their mean.
#include "datasets/known/law.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>

#include "datasets/known/overlap.h"
#include "datasets/known/sets.h"
#include "golden/contract/error.h"

namespace tt = boost::test_tools;

namespace assay::datasets {
namespace {

const std::vector<std::string> kAll{
    "uniform:vocab=16",
    "markov:order=0,vocab=8",
    "markov:order=1,vocab=8",
    "markov:order=3,vocab=5,seed=9",
    "hmm:states=3,vocab=7",
    "copy:vocab=6,length=4",
    "copy:vocab=6,length=4,noise=0.2",
    "induction:vocab=9,repeat=0.8",
    "brackets:kinds=2,depth=3",
    "canaries:vocab=100,subset=10,first=20",
    "mixture:0.25*uniform:vocab=8+0.75*markov:order=1,vocab=6",
};

std::unique_ptr<Law> law_of(const std::string& text) { return parse_law(text, "test"); }

// Whatever came before, the next token is one of the vocabulary.
BOOST_AUTO_TEST_CASE(probabilities_sum_to_one) {
  for (const std::string& text : kAll) {
    const auto law = law_of(text);
    for (const int32_t token : draw_rows(*law, "train", 3, 4, 20)) {
      BOOST_TEST(token >= 0);
      BOOST_TEST(token < law->vocab_size());
    }
    const std::vector<int32_t> row = draw_rows(*law, "train", 3, 1, 24);
    const auto predictor = law->begin();
    for (const int32_t token : row) {
      double sum = 0, entropy = 0;
      for (int32_t v = 0; v < law->vocab_size(); ++v) {
        const double p = predictor->probability(v);
        sum += p;
        if (p > 0) entropy -= p * std::log(p);
      }
      BOOST_TEST(sum == 1.0, tt::tolerance(1e-12));
      BOOST_TEST(predictor->surprise().mean == entropy, tt::tolerance(1e-9));
      predictor->observe(token);
    }
    BOOST_TEST(predictor->probability(-1) == 0.0);
    BOOST_TEST(predictor->probability(static_cast<int32_t>(law->vocab_size())) == 0.0);
  }
}

// -log p of drawn tokens is what was expected of it, and of long rows the entropy rate.
BOOST_AUTO_TEST_CASE(drawn_tokens_have_their_entropy) {
  constexpr int64_t kRows = 40, kPositions = 600;
  for (const std::string& text : kAll) {
    const auto law = law_of(text);
    const std::vector<int32_t> tokens = draw_rows(*law, "val", 5, kRows, kPositions);
    const KnownRows known = known_rows(*law, tokens, kPositions, true);
    double sum = 0, expected = 0, variance = 0, late = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      sum -= known.log_probs[i];
      expected += known.surprises[i].mean;
      variance += known.surprises[i].variance;
      if (i % kPositions >= kPositions / 2) late -= known.log_probs[i];
    }
    BOOST_TEST_CONTEXT(text) {
      BOOST_TEST(std::abs(sum - expected) <= 5 * std::sqrt(variance) + 1e-6);
      const double mean = late / (kRows * kPositions / 2);
      const double rate = law->entropy_rate().value_or(estimated_entropy_rate(*law).value);
      // Of a mixture 40 rows have not just its shares of each part.
      BOOST_TEST(std::abs(mean - rate) < (text.starts_with("mixture") ? 0.3 : 0.05));
    }
  }
}

// One state: every token has the same row, whatever came before.
BOOST_AUTO_TEST_CASE(hidden_markov_of_one_state_is_a_row) {
  const auto law = law_of("hmm:states=1,vocab=5,sharpness=3");
  const auto predictor = law->begin();
  const double before = predictor->probability(2);
  predictor->observe(4);
  BOOST_TEST(predictor->probability(2) == before, tt::tolerance(1e-14));
}

// Bayes by hand: after a token that only one part has, the mixture is that part.
BOOST_AUTO_TEST_CASE(mixture_learns_which_part_it_is) {
  const auto law = law_of("mixture:0.5*uniform:vocab=4+0.5*uniform:vocab=2");
  const auto predictor = law->begin();
  BOOST_TEST(predictor->probability(0) == 0.5 / 4 + 0.5 / 2, tt::tolerance(1e-14));
  predictor->observe(0);  // weights 1/3 and 2/3
  BOOST_TEST(predictor->probability(0) == 0.25 / 3 + 0.5 * 2 / 3, tt::tolerance(1e-14));
  predictor->observe(3);
  BOOST_TEST(predictor->probability(0) == 0.25, tt::tolerance(1e-14));
}

// Depth 1: open, close, open, close: the kind alone is free, every other token.
BOOST_AUTO_TEST_CASE(entropy_rates_by_hand) {
  BOOST_TEST(*law_of("brackets:kinds=4,depth=1")->entropy_rate() == std::log(4.0) / 2,
             tt::tolerance(1e-12));
  BOOST_TEST(*law_of("copy:vocab=8,length=3")->entropy_rate() == std::log(8.0) / 2,
             tt::tolerance(1e-12));
  BOOST_TEST(*law_of("canaries:vocab=1000,subset=64")->entropy_rate() == std::log(64.0),
             tt::tolerance(1e-12));
  BOOST_TEST(*law_of("markov:order=2,vocab=4,sharpness=0")->entropy_rate() == std::log(4.0),
             tt::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(impossible_tokens_have_probability_zero) {
  const auto law = law_of("brackets:kinds=2,depth=2");
  const std::vector<int32_t> tokens{0, 3};  // ( ]
  const KnownRows known = known_rows(*law, tokens, 2, false);
  BOOST_TEST(known.log_probs[0] == std::log(0.5), tt::tolerance(1e-14));
  BOOST_TEST(std::isinf(known.log_probs[1]));
}

// A row does not depend on how many there are, nor on how long it is.
BOOST_AUTO_TEST_CASE(sets_are_functions_of_seed_and_name) {
  const auto law = law_of("markov:order=2,vocab=16");
  const auto first = draw_rows(*law, "train", 1, 1, 10), more = draw_rows(*law, "train", 1, 3, 20);
  BOOST_TEST(std::vector<int32_t>(more.begin(), more.begin() + 10) == first, tt::per_element());
  BOOST_TEST((draw_rows(*law, "val", 1, 1, 10) != first));
  BOOST_TEST((draw_rows(*law, "train", 2, 1, 10) != first));
  BOOST_TEST(seed_commitment(1) != seed_commitment(2));
}

BOOST_AUTO_TEST_CASE(overlap_is_found_by_windows) {
  std::vector<int32_t> a(40), b(40);
  std::iota(a.begin(), a.end(), 0);
  std::iota(b.begin(), b.end(), 100);
  BOOST_TEST(overlapping_rows(b, 20, a, 20, 6).empty());
  std::copy(a.begin() + 11, a.begin() + 17, b.begin() + 25);  // 6 tokens of row 0 in b's row 1
  const std::vector<int64_t> second{1};
  BOOST_TEST(overlapping_rows(b, 20, a, 20, 6) == second, tt::per_element());
  BOOST_TEST(overlapping_rows(b, 20, a, 20, 7).empty());
  std::copy(a.begin(), a.begin() + 8, a.begin() + 30);  // within one set
  BOOST_TEST(overlapping_rows(a, 20, {}, 0, 8) == second, tt::per_element());
  BOOST_TEST(overlapping_rows(a, 20, b, 20, 21).empty());  // longer than a row
}

BOOST_AUTO_TEST_CASE(bad_sources_are_refused) {
  for (const char* text :
       {"", "markow", "markov:order", "markov:order=", "markov:order=-1", "markov:order=1.5",
        "markov:states=2", "uniform:vocab=1", "uniform:vocab=99999999999999999999",
        "uniform:vocab=2,vocab=3", "copy:noise=2", "copy:noise=nan", "canaries:vocab=8,subset=9",
        "canaries:vocab=8,subset=4,first=5", "mixture:", "mixture:uniform",
        "mixture:0*uniform+uniform", "mixture:x*uniform+uniform",
        "mixture:uniform+mixture:uniform+uniform"}) {
    BOOST_TEST_CONTEXT(text) { BOOST_CHECK_THROW(law_of(text), InputError); }
  }
  BOOST_TEST(names_law("markov:order=2"));
  BOOST_TEST(names_law("uniform"));
  BOOST_TEST(!names_law("uniform.npz"));
  BOOST_TEST(!names_law("data/markov.h5"));
}

}  // namespace
}  // namespace assay::datasets
