// Arrays: shared storage, the pool, and the count of live bytes.
#include "reference/numbers/array.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <vector>

#include "golden/contract/error.h"
#include "reference/numbers/storage.h"

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
  const Array clean = Array::zeros({17});
  for (const double x : clean.values()) BOOST_TEST(x == 0.0);
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

// What is freed serves requests of other sizes: halves of a whole, and a whole of halves.
BOOST_AUTO_TEST_CASE(freed_blocks_are_cut_and_joined) {
  Heap heap;
  constexpr std::size_t kWhole = std::size_t{1} << 20;
  char* const whole = heap.take(kWhole);
  char* const fence = heap.take(kWhole);
  heap.give(whole);
  char* const first = heap.take(kWhole / 2);
  char* const second = heap.take(kWhole / 2);
  BOOST_TEST((first == whole && second == whole + kWhole / 2));
  heap.give(first);
  heap.give(second);
  BOOST_TEST((heap.take(kWhole) == whole));
  heap.give(fence);
}

// A hole that fits closely is taken before a wide one, and every block is aligned for any vector.
BOOST_AUTO_TEST_CASE(the_smallest_block_that_fits_is_taken) {
  Heap heap;
  char* const wide = heap.take(4096);
  char* const wall = heap.take(64);
  char* const close = heap.take(1000);
  char* const end = heap.take(64);
  BOOST_TEST(end - close == 1024);
  heap.give(wide);
  heap.give(close);
  BOOST_TEST((heap.take(999) == close));
  BOOST_TEST((heap.take(2000) == wide));
  heap.give(wall);
}

// Thousand rounds of a varying size never need more addresses than one mapping.
BOOST_AUTO_TEST_CASE(rounds_of_varying_sizes_do_not_grow_the_heap) {
  Heap heap;
  char* const first = heap.take(std::size_t{1} << 20);
  const std::size_t mapped = heap.mapped_bytes();
  for (std::size_t round = 0; round < 1000; ++round) {
    char* const a = heap.take((std::size_t{8} << 20) + 4096 * round);
    char* const b = heap.take((std::size_t{16} << 20) - 8192 * round);
    heap.give(a);
    heap.give(b);
  }
  BOOST_TEST(heap.mapped_bytes() == mapped);
  heap.give(first);
}

// Trimming drops pages of free blocks only: they come back as zeros, what is live stays.
BOOST_AUTO_TEST_CASE(trimming_leaves_live_blocks_alone) {
  Heap heap;
  constexpr std::size_t kBytes = std::size_t{1} << 20;
  char* const freed = heap.take(kBytes);
  char* const live = heap.take(kBytes);
  std::fill(freed, freed + kBytes, 'f');
  std::fill(live, live + kBytes, 'l');
  heap.give(freed);
  heap.trim();
  BOOST_TEST(std::count(live, live + kBytes, 'l') == static_cast<std::ptrdiff_t>(kBytes));
  BOOST_TEST((heap.take(kBytes) == freed));
  BOOST_TEST(freed[kBytes / 2] == 0);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference
