// Arrays: shared storage, the pool, and the count of live bytes.
#include "reference/array.h"

#include <boost/test/unit_test.hpp>
#include <vector>

#include "golden/error.h"

namespace tt = boost::test_tools;

namespace assay::reference {

BOOST_AUTO_TEST_SUITE(array)

BOOST_AUTO_TEST_CASE(an_array_without_storage_is_absent_and_an_empty_one_is_not) {
  BOOST_TEST(Array().absent());
  BOOST_TEST(!Array::zeros({0, 3}).absent());
  BOOST_TEST(Array::zeros({0, 3}).size() == 0);
  BOOST_TEST(Array::zeros({}).size() == 1);
}

BOOST_AUTO_TEST_CASE(reused_storage_is_cleared_by_zeros) {
  {
    Array dirty = Array::zeros({17});
    for (double& x : dirty.values()) x = 5;
  }
  for (const double x : Array::zeros({17}).values()) BOOST_TEST(x == 0.0);
}

BOOST_AUTO_TEST_CASE(copies_share_storage_until_one_goes) {
  Array first = Array::zeros({2, 3});
  BOOST_TEST(first.unique());
  {
    const Array second = first.reshaped({3, 2});
    BOOST_TEST(!first.unique());
    BOOST_TEST(second.data() == first.data());
    BOOST_TEST(second.shape() == (Shape{3, 2}), tt::per_element());
  }
  BOOST_TEST(first.unique());
}

BOOST_AUTO_TEST_CASE(shapes_and_values_that_do_not_fit_are_refused) {
  const std::vector<double> values(5, 1.0);
  BOOST_CHECK_THROW(Array::copy_of({2, 3}, values), InternalError);
  BOOST_CHECK_THROW(Array::zeros({2, 3}).reshaped({7}), InternalError);
}

BOOST_AUTO_TEST_CASE(live_and_peak_bytes_follow_the_arrays) {
  const int64_t before = live_bytes();
  reset_peak_bytes();
  {
    const Array a = Array::zeros({10});
    BOOST_TEST(live_bytes() == before + 80);
    { const Array b = Array::zeros({20}); }
    BOOST_TEST(live_bytes() == before + 80);
  }
  BOOST_TEST(live_bytes() == before);
  BOOST_TEST(peak_bytes() == before + 240);
  release_pool();  // reusable storage is not live: nothing changes
  BOOST_TEST(live_bytes() == before);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference
