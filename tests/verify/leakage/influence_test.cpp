#include <boost/test/unit_test.hpp>

#include "tests/verify/leakage/fake_subject.h"

namespace assay::verify::fake {

BOOST_AUTO_TEST_CASE(the_influence_matrix_of_a_causal_subject_is_lower_triangular) {
  const auto result =
      detect([](const Batch& x, int64_t b, int64_t t, int) { return causal(x, b, t); });
  for (int64_t t = 0; t < kT; ++t) {
    for (int64_t s = 0; s < kT; ++s) {
      const int layer = result.influence.first_layer[static_cast<std::size_t>(t * kT + s)];
      const int expected = s > t    ? -1
                           : s == t ? 0
                                    : static_cast<int>(config().num_hidden_layers) + 1;
      BOOST_TEST(layer == expected);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_subject_that_ignores_its_input_fails) {
  const auto result = detect([](const Batch&, int64_t, int64_t t, int) { return double(t); });
  BOOST_TEST((check(result, "influence").status == Status::fail));
}

BOOST_AUTO_TEST_CASE(a_dead_mask_that_hides_all_but_the_own_token_fails) {
  const auto result =
      detect([](const Batch& x, int64_t b, int64_t t, int) { return token(x, b, t); });
  BOOST_TEST((check(result, "influence").status == Status::fail));
  BOOST_TEST(check(result, "influence").summary ==
             "the logits at position 8 do not depend on token 0");
}

// Padding has nothing to show: neither the own token of a padded position nor a padded first one.
BOOST_AUTO_TEST_CASE(what_is_padded_need_not_show) {
  Batch padded = batch();
  const int64_t left = 4;
  for (int64_t b = 0; b < kB; ++b) {
    for (int64_t t = 0; t < left; ++t) {
      padded.attention_mask[static_cast<std::size_t>(b * kT + t)] = 0;
    }
  }
  const auto result = detect(
      [](const Batch& x, int64_t b, int64_t t, int) {
        double sum = 0;
        for (int64_t s = 0; s <= t; ++s) {
          const auto i = static_cast<std::size_t>(b * x.positions + s);
          if (x.attention_mask[i] != 0) sum += token(x, b, s) / static_cast<double>(1 + s);
        }
        return sum;
      },
      padded);
  BOOST_TEST((check(result, "influence").status == Status::pass));
  BOOST_TEST(check(result, "influence").summary ==
             "9 single tokens changed: every real position sees itself, position 8 token 4");
}

// One row is enough to be wrong: the other one does see its tokens.
BOOST_AUTO_TEST_CASE(a_row_that_ignores_its_tokens_fails_beside_one_that_does_not) {
  const auto result = detect([](const Batch& x, int64_t b, int64_t t, int) {
    return b == 0 ? causal(x, b, t) : static_cast<double>(t);
  });
  BOOST_TEST((check(result, "influence").status == Status::fail));
}

// A change that the reference does not see either accuses nobody; one that it sees does.
BOOST_AUTO_TEST_CASE(the_reference_says_what_should_have_shown) {
  const auto own_alone = [](const Batch& x, int64_t b, int64_t t, int) { return token(x, b, t); };
  const auto logits = [](double weight) {
    return [weight](const Batch& x) {
      golden::Tensor values{{x.batch, x.positions, 1}, {}};
      for (int64_t b = 0; b < x.batch; ++b) {
        for (int64_t t = 0; t < x.positions; ++t) {
          values.values.push_back(token(x, b, t) + weight * causal(x, b, t));
        }
      }
      return values;
    };
  };
  for (const double weight : {1e-12, 1.0}) {
    Fake subject(own_alone);
    const Batch on = batch();
    const auto result = detect_leaks(subject, config(), on, {.reference_logits = logits(weight)});
    BOOST_TEST(
        (check(result, "influence").status == (weight == 1.0 ? Status::fail : Status::pass)));
  }
}

}  // namespace assay::verify::fake
