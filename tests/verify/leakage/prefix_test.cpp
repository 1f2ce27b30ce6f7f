#include "verify/leakage/prefix.h"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <functional>

#include "golden/contract/weights.h"

namespace {

using namespace assay;
using verify::Batch;
using verify::Status;

constexpr int64_t kB = 2, kT = 9;

golden::ModelConfig config() { return golden::preset("tiny"); }

// A subject of two tensors: embed[b,t,:] = token, logits[b,t,0] = f(batch, b, t, call).
class Fake : public verify::Subject {
 public:
  using Logit = std::function<double(const Batch& batch, int64_t b, int64_t t, int call)>;
  explicit Fake(Logit logit) : logit_(std::move(logit)) {}

  std::string describe() const override { return "fake"; }
  verify::Capabilities capabilities() const override {
    return {.can_run = true, .can_force = false};
  }
  golden::PrecisionSchedule precision() const override { return {}; }
  golden::DType dtype_of(const std::string&) const override { return golden::DType::float64; }

  void run(const Batch& batch, const verify::Forced&, const verify::Receive& receive) override {
    ++calls_;
    const golden::ModelConfig c = config();
    golden::Tensor embed{{batch.batch, batch.positions, c.hidden_size}, {}};
    golden::Tensor logits{{batch.batch, batch.positions, c.vocab_size}, {}};
    for (int64_t b = 0; b < batch.batch; ++b) {
      for (int64_t t = 0; t < batch.positions; ++t) {
        const double token = batch.tokens[static_cast<std::size_t>(b * batch.positions + t)];
        embed.values.insert(embed.values.end(), static_cast<std::size_t>(c.hidden_size), token);
        logits.values.insert(logits.values.end(), static_cast<std::size_t>(c.vocab_size),
                             logit_(batch, b, t, calls_));
      }
    }
    receive({"embed", golden::DType::float64, embed});
    receive({"logits", golden::DType::float64, logits});
  }

 private:
  Logit logit_;
  int calls_ = 0;
};

Batch batch() {
  Batch result;
  result.batch = kB;
  result.positions = kT;
  result.tokens = golden::synthetic_tokens(config().vocab_size, kB, kT, 3);
  result.labels = result.tokens;
  result.attention_mask.assign(result.tokens.size(), 1);
  return result;
}

double token(const Batch& x, int64_t b, int64_t t) {
  return x.tokens[static_cast<std::size_t>(b * x.positions + t)];
}

// sum_{s<=t} token / (1+s): causal, every position counts.
double causal(const Batch& x, int64_t b, int64_t t) {
  double sum = 0;
  for (int64_t s = 0; s <= t; ++s) sum += token(x, b, s) / static_cast<double>(1 + s);
  return sum;
}

verify::PrefixResult detect(Fake::Logit logit) {
  Fake subject(std::move(logit));
  return verify::detect_prefix_leaks(subject, config(), batch());
}

const verify::Check& check(const verify::PrefixResult& result, const std::string& name) {
  for (const verify::Check& c : result.checks) {
    if (c.name == name) return c;
  }
  BOOST_FAIL("no check named " << name);
  throw 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_causal_subject_passes_every_detector) {
  const auto result =
      detect([](const Batch& x, int64_t b, int64_t t, int) { return causal(x, b, t); });
  BOOST_TEST(result.checks.size() == 5u);
  for (const verify::Check& c : result.checks) {
    BOOST_TEST((c.status == Status::pass), c.name << ": " << c.summary);
  }
  BOOST_TEST(!result.leaks);
}

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

BOOST_AUTO_TEST_CASE(one_position_that_peeks_one_ahead_is_found_with_its_pair) {
  const auto result = detect([](const Batch& x, int64_t b, int64_t t, int) {
    return causal(x, b, t) + (t == 5 ? 1e-9 * token(x, b, 6) : 0.0);
  });
  BOOST_TEST((check(result, "prefix").status == Status::fail));
  BOOST_TEST(result.tensor == "logits");
  BOOST_TEST(result.t == 5);
  BOOST_TEST(result.s == 6);
}

// Two tokens must change together: a single one leaves the parity of their difference to the test's
// luck.
BOOST_AUTO_TEST_CASE(a_leak_that_needs_two_tokens_is_found_by_the_suffixes) {
  const auto result = detect([](const Batch& x, int64_t b, int64_t t, int) {
    const Batch original = batch();
    const bool both =
        token(x, b, 7) != token(original, b, 7) && token(x, b, 8) != token(original, b, 8);
    return causal(x, b, t) + (t == 2 && both ? 1.0 : 0.0);
  });
  BOOST_TEST((check(result, "prefix").status == Status::fail));
  BOOST_TEST(result.t == 2);
  BOOST_TEST(result.s == -1);
}

BOOST_AUTO_TEST_CASE(a_subject_with_state_is_inconclusive_not_passed) {
  const auto result =
      detect([](const Batch& x, int64_t b, int64_t t, int call) { return causal(x, b, t) + call; });
  BOOST_TEST(result.checks.size() == 1u);
  BOOST_TEST((check(result, "repeat").status == Status::inconclusive));
  BOOST_TEST(check(result, "repeat").summary == "two runs on one batch differ, first at logits");
  BOOST_TEST(verify::exit_code(result.checks) == 3);
}

BOOST_AUTO_TEST_CASE(cross_talk_between_rows_is_found) {
  const auto result = detect([](const Batch& x, int64_t b, int64_t t, int) {
    return causal(x, b, t) + (b == 1 ? token(x, 0, 0) : 0.0);
  });
  BOOST_TEST((check(result, "batch").status == Status::fail));
  BOOST_TEST((check(result, "labels").status == Status::pass));
}

BOOST_AUTO_TEST_CASE(logits_that_read_the_labels_are_found) {
  const auto result = detect([](const Batch& x, int64_t b, int64_t t, int) {
    return causal(x, b, t) + (t == 4 ? x.labels[static_cast<std::size_t>(b * kT + 5)] : 0);
  });
  BOOST_TEST((check(result, "labels").status == Status::fail));
  BOOST_TEST(check(result, "labels").summary == "logits changes with the labels");
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

// NaN everywhere is bitwise equal to itself: it must not pass for causal.
BOOST_AUTO_TEST_CASE(nan_everywhere_is_not_a_pass) {
  const auto result = detect([](const Batch&, int64_t, int64_t, int) { return std::nan(""); });
  BOOST_TEST(verify::exit_code(result.checks) == 1);
}
