#include <boost/test/unit_test.hpp>

#include "tests/verify/leakage/fake_subject.h"

namespace assay::verify::fake {
namespace {

LeakResult detect_keeping(const std::function<Fake::Logit()>& make, bool again = true) {
  Fake subject = Fake::keeping(make);
  subject.can_be_made_again = again;
  const Batch on = batch();
  return detect_leaks(subject, config(), on);
}

// The sum of the real tokens up to t.
double masked(const Batch& x, const std::vector<uint8_t>& mask, int64_t b, int64_t t) {
  double sum = 0;
  for (int64_t s = 0; s <= t; ++s) {
    const auto i = static_cast<std::size_t>(b * x.positions + s);
    const bool real = i >= mask.size() || mask[i] != 0;
    if (real) sum += token(x, b, s) / static_cast<double>(1 + s);
  }
  return sum;
}

// The mask of the first call serves every later one.
Fake::Logit keeps_mask() {
  const auto first = std::make_shared<std::vector<uint8_t>>();
  return [first](const Batch& x, int64_t b, int64_t t, int) {
    if (first->empty()) *first = x.attention_mask;
    return masked(x, *first, b, t);
  };
}

Fake::Logit keeps_nothing() {
  return
      [](const Batch& x, int64_t b, int64_t t, int) { return masked(x, x.attention_mask, b, t); };
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_mask_kept_from_the_first_call_is_found) {
  const auto result = detect_keeping(keeps_mask);
  BOOST_TEST((check(result, "repeat").status == Status::pass));
  BOOST_TEST((check(result, "state").status == Status::fail));
  BOOST_TEST(check(result, "state").summary ==
             "state survives a call: logits of a batch with another mask is not that of a fresh "
             "instance");
}

// A key of the batch before, unless it was the same batch: a repeated run agrees with itself.
BOOST_AUTO_TEST_CASE(a_key_of_the_call_before_is_found) {
  const auto result = detect_keeping([]() -> Fake::Logit {
    const auto key = std::make_shared<double>(0);
    return [key](const Batch& x, int64_t b, int64_t t, int) {
      const double before = *key;
      if (b == x.batch - 1 && t == x.positions - 1) *key = token(x, 0, 0);
      return causal(x, b, t) + (before == 0 ? token(x, 0, 0) : before);
    };
  });
  BOOST_TEST((check(result, "repeat").status == Status::pass));
  BOOST_TEST((check(result, "state").status == Status::fail));
}

BOOST_AUTO_TEST_CASE(a_subject_that_keeps_nothing_passes) {
  const auto result = detect_keeping(keeps_nothing);
  BOOST_TEST((check(result, "state").status == Status::pass));
  BOOST_TEST(check(result, "state").summary ==
             "A, B, A agree bit for bit, B with other tokens, another mask, other labels, another "
             "shape; B as a fresh instance has it");
}

// Without a second instance the first call's mask cannot be told from the right one: no pass.
BOOST_AUTO_TEST_CASE(one_instance_alone_is_inconclusive) {
  const auto result = detect_keeping(keeps_nothing, false);
  BOOST_TEST((check(result, "state").status == Status::inconclusive));
}

}  // namespace assay::verify::fake
