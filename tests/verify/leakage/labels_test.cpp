#include <boost/test/unit_test.hpp>

#include "tests/verify/leakage/fake_subject.h"

namespace assay::verify::fake {

BOOST_AUTO_TEST_CASE(logits_that_read_the_labels_are_found) {
  const auto result = detect([](const Batch& x, int64_t b, int64_t t, int) {
    return causal(x, b, t) + (t == 4 ? x.labels[static_cast<std::size_t>(b * kT + 5)] : 0);
  });
  BOOST_TEST((check(result, "labels").status == Status::fail));
  BOOST_TEST(check(result, "labels").summary == "logits changes with the labels");
}

}  // namespace assay::verify::fake
