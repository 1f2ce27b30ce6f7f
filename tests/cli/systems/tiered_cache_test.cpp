// The cache in three tiers: worked by hand, and beside the plain definition.
#include "reference/streaming/tiered_cache.h"

#include <boost/test/unit_test.hpp>

#include "golden/contract/error.h"
#include "tests/cli/systems/tiered_subject.h"

using namespace assay;
using assay::systems_test::EngineTiers;

namespace {

std::vector<double> counted(int64_t first, int64_t count) {
  std::vector<double> rows;
  for (int64_t i = 0; i < count; ++i) rows.push_back(static_cast<double>(first + i));
  return rows;
}

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

// 8 positions in blocks of 1: hot 2, warm 2, cold 4. 11 positions appended, 3 .. 10 are held.
BOOST_AUTO_TEST_CASE(tiers_are_by_recency) {
  EngineTiers cache({8, 1, 1});
  cache.append(counted(0, 11));
  std::vector<double> out(1);
  for (int64_t p = 3; p < 11; ++p) {
    const verify::TieredCounts before = cache.counts();
    cache.read(p, p + 1, out);
    BOOST_TEST(out[0] == static_cast<double>(p));
    BOOST_TEST(cache.counts().misses - before.misses == (p < 7 ? 1 : 0));
    BOOST_TEST(cache.counts().hits - before.hits == (p < 7 ? 0 : 1));
  }
  const verify::TieredCounts counts = cache.counts();
  BOOST_TEST(counts.evictions == 3);
  BOOST_TEST(counts.hot_bytes == 2 * 8);
  BOOST_TEST(counts.warm_bytes == 2 * 8);
  BOOST_TEST(counts.cold_bytes == 4 * 8);
}

BOOST_AUTO_TEST_CASE(what_has_left_is_refused_with_the_range_that_is_held) {
  EngineTiers cache({8, 2, 1});
  cache.append(counted(0, 11));
  std::vector<double> out(9);
  BOOST_TEST(message_of([&] { cache.read(2, 4, out); }) ==
             "tiered cache: positions 2 .. 3 are not held: expected within 3 .. 10");
  BOOST_TEST(message_of([&] { cache.read(10, 12, out); }) ==
             "tiered cache: positions 10 .. 11 are not held: expected within 3 .. 10");
  cache.read(3, 11, std::span(out).first(8));
  BOOST_TEST(out[0] == 3.0);
  BOOST_TEST(out[7] == 10.0);
}

BOOST_AUTO_TEST_CASE(sizes_without_tiers_are_refused) {
  for (const cuda::TieredSize& size :
       {cuda::TieredSize{10, 1, 8}, cuda::TieredSize{8, 3, 8}, cuda::TieredSize{0, 1, 8},
        cuda::TieredSize{8, 0, 8}, cuda::TieredSize{8, 1, 0}, cuda::TieredSize{-8, 1, 8},
        cuda::TieredSize{int64_t{1} << 60, 1, 8}}) {
    BOOST_TEST(message_of([&] { cuda::TieredCache cache(size); }).starts_with("tiered cache: "));
  }
  const reference::KeptTensor kept[] = {{"rows", 1, 1}};
  BOOST_CHECK_THROW(reference::TieredCache(kept, {10, 0}, 1), InputError);
}

// A block moves as a whole, when the one after the newest half begins.
BOOST_AUTO_TEST_CASE(demotion_moves_blocks) {
  cuda::TieredCache cache({16, 2, 8});  // 8 blocks, 4 of them on the device
  const simt::Buffer<double> row(std::vector<double>{1.0});
  std::vector<int64_t> demotions;
  for (int p = 0; p < 14; ++p) {
    cache.append(row.get(), 1);
    demotions.push_back(cache.use().demotions);
  }
  const std::vector<int64_t> expected{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3};
  BOOST_TEST(demotions == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(any_use_gives_what_a_flat_cache_gives) {
  const verify::Check check = verify::check_tiered(systems_test::engine_tiers, 60, 7);
  BOOST_TEST_INFO_SCOPE(check.summary);
  for (const std::string& line : check.details) BOOST_TEST_MESSAGE(line);
  BOOST_TEST((check.status == verify::Status::pass));
}
