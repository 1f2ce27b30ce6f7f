// Who holds which blocks: counts that add up whatever happens, promises that are kept, and nothing
// that is lost where there is no room.
#include "cuda_impl/engine/cache/block_pool.h"

#include <boost/test/unit_test.hpp>
#include <random>

#include "golden/contract/error.h"
#include "tests/cuda_impl/engine/recorder.h"

using namespace assay;
using namespace assay::engine_test;
using cuda::BlockPool;

namespace {

// Sequences as somebody sees them who knows their contents: of each position who wrote it, by a
// number of its own.
class Written {
 public:
  Written(BlockPool& pool, int64_t sequences)
      : pool_(pool), contents_(static_cast<std::size_t>(sequences)), lengths_(contents_.size()) {}

  bool append(const std::vector<int32_t>& counts) {
    try {
      most_known_ = std::max(most_known_, pool_.check(lengths_, counts));
    } catch (const InputError&) {
      return false;
    }
    for (const BlockPool::Copy& copy : pool_.extend(lengths_, counts)) {
      memory_[static_cast<std::size_t>(copy.to)] = memory_[static_cast<std::size_t>(copy.from)];
    }
    const int64_t rows = pool_.size().rows;
    for (std::size_t s = 0; s < counts.size(); ++s) {
      for (int32_t i = 0; i < counts[s]; ++i) {
        const int64_t position = lengths_[s]++;
        const std::size_t block = block_of(s, position);
        BOOST_REQUIRE_LT(static_cast<int64_t>(block), most_known_);
        memory_[block].resize(static_cast<std::size_t>(rows));
        memory_[block][static_cast<std::size_t>(position % rows)] = ++stamp_;
        contents_[s].push_back(stamp_);
      }
    }
    return true;
  }
  bool share(std::size_t from, std::size_t to, int64_t positions) {
    const auto f = static_cast<int64_t>(from), t = static_cast<int64_t>(to);
    if (!pool_.share(f, t, positions, lengths_[from])) return false;
    contents_[to].assign(contents_[from].begin(), contents_[from].begin() + positions);
    lengths_[to] = positions;
    return true;
  }
  void release(std::size_t s) {
    pool_.release(static_cast<int64_t>(s));
    contents_[s].clear();
    lengths_[s] = 0;
  }
  void let_go(std::size_t s) { pool_.let_go(static_cast<int64_t>(s), lengths_[s]); }

  // Whatever a window still reaches is where the table says.
  void check() const {
    pool_.check_counts();
    const cuda::Kept& kept = pool_.size().kept;
    for (std::size_t s = 0; s < contents_.size(); ++s) {
      for (int64_t p = 0; p < lengths_[s]; ++p) {
        if (kept.reach > 0 && p >= kept.sinks && p < lengths_[s] - kept.reach) continue;
        const auto& block = memory_.at(block_of(s, p));
        BOOST_REQUIRE_EQUAL(block[static_cast<std::size_t>(p % pool_.size().rows)],
                            contents_[s][static_cast<std::size_t>(p)]);
      }
    }
  }
  int64_t length(std::size_t s) const { return lengths_[s]; }

 private:
  std::size_t block_of(std::size_t s, int64_t position) const {
    const auto row = pool_.row(static_cast<int64_t>(s));
    return static_cast<std::size_t>(row[static_cast<std::size_t>(position / pool_.size().rows)]);
  }

  BlockPool& pool_;
  std::vector<std::vector<int64_t>> memory_{1 << 12};  // by block
  std::vector<std::vector<int64_t>> contents_;
  std::vector<int64_t> lengths_;
  int64_t most_known_ = 0, stamp_ = 0;
};

// One pool, 120 steps of whatever can happen.
void run_case(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
  };
  BlockPool::Size size{
      .sequences = 2 + below(4), .capacity = 40 + below(300), .rows = 1 + below(20)};
  size.chunk = 1 + below(30);
  size.blocks = 2 + below(size.sequences * (size.capacity / size.rows + 1));
  if (seed % 3 == 0) size.kept = {.sinks = 64 * below(2), .reach = 1 + below(30)};
  BlockPool pool(size);
  Written written(pool, size.sequences);
  const auto count = static_cast<std::size_t>(size.sequences);
  std::vector<int64_t> promised(count, -1);  // positions, of those that nothing else has touched
  for (int step = 0; step < 120; ++step) {
    const auto s = static_cast<std::size_t>(below(size.sequences));
    const auto other = (s + 1 + static_cast<std::size_t>(below(size.sequences - 1))) % count;
    switch (below(8)) {
      case 0:
        written.release(s);
        promised[s] = -1;
        break;
      case 1: {
        const int64_t positions = below(size.capacity + 1);
        if (pool.reserve(static_cast<int64_t>(s), positions)) promised[s] = positions;
        break;
      }
      case 2: {
        const bool was_empty = written.length(s) == 0;
        const int64_t positions = below(written.length(other) + 1);
        if (written.share(other, s, positions) && !was_empty) promised[s] = -1;
        break;
      }
      default: {
        std::vector<int32_t> counts(count, 0);
        bool is_promised = true;
        for (std::size_t i = 0; i < count; ++i) {
          if (below(2) == 0) continue;
          const int64_t left = size.capacity - written.length(i);
          counts[i] = static_cast<int32_t>(std::min(left, below(size.chunk) + 1));
          is_promised = is_promised && written.length(i) + counts[i] <= promised[i];
        }
        const int64_t free_before = pool.free_blocks();
        const bool fits = written.append(counts);
        BOOST_REQUIRE_MESSAGE(fits || !is_promised, "seed " << seed << ": a promise is not kept");
        if (!fits) BOOST_REQUIRE_EQUAL(pool.free_blocks(), free_before);
        for (std::size_t i = 0; fits && i < count; ++i) written.let_go(i);
      }
    }
    BOOST_TEST_INFO_SCOPE("seed " << seed << " step " << step);
    pool.check_counts();
    if (step % 5 == 0) written.check();
  }
  for (std::size_t s = 0; s < count; ++s) written.release(s);
  pool.check_counts();
  BOOST_REQUIRE_EQUAL(pool.free_blocks(), size.blocks);
  BOOST_REQUIRE_EQUAL(pool.use().promised, 0);
}

}  // namespace

BOOST_AUTO_TEST_CASE(whatever_happens_counts_add_up_and_contents_stay) {
  for (uint64_t seed = 1; seed <= 1500; ++seed) run_case(seed);
}

BOOST_AUTO_TEST_CASE(sequences_that_begin_alike_have_the_same_blocks) {
  BlockPool pool({.sequences = 3, .capacity = 64, .rows = 8, .blocks = 24});
  Written written(pool, 3);
  BOOST_REQUIRE(written.append({20, 0, 0}));
  BOOST_REQUIRE(written.share(0, 1, 20));
  BOOST_REQUIRE(written.share(0, 2, 16));
  BOOST_TEST(pool.use().used == 3);
  BOOST_REQUIRE(written.append({0, 0, 1}));  // begins a block
  BOOST_TEST(pool.use().used == 4);
  BOOST_TEST(pool.use().copied == 0);
  BOOST_REQUIRE(written.append({1, 1, 0}));  // both in the third: one of them copies it
  BOOST_TEST(pool.use().used == 5);
  BOOST_TEST(pool.use().copied == 1);
  written.check();
  written.release(0);
  BOOST_TEST(pool.use().used == 4);
  written.release(1);
  BOOST_TEST(pool.use().used == 3);
  written.release(2);
  BOOST_TEST(pool.use().used == 0);
}

BOOST_AUTO_TEST_CASE(too_few_blocks_are_refused_with_what_is_missing) {
  BlockPool pool({.sequences = 2, .capacity = 64, .rows = 8, .blocks = 5});
  Written written(pool, 2);
  BOOST_REQUIRE(written.append({24, 3}));
  const std::vector<int64_t> lengths{24, 3};
  const std::vector<int32_t> counts{9, 6};
  check_refused_with([&] { pool.check(lengths, counts); },
                     "decoder: cache blocks: the chunk takes 3 more blocks of 8 positions");
  BOOST_REQUIRE(pool.reserve(1, 16));
  const std::vector<int32_t> one{1, 0};
  check_refused_with([&] { pool.check(lengths, one); },
                     "expected at most 0 free for the others, got 1 (4 of 5 are held, 1 promised)");
  BOOST_TEST(!pool.reserve(0, 32));
  BOOST_REQUIRE(written.append({0, 13}));
  BOOST_TEST(pool.free_blocks() == 0);
  written.release(0);
  BOOST_TEST(pool.free_blocks() == 3);
}

// Windows of 20 behind the first 64: never more than those and what the window reaches.
BOOST_AUTO_TEST_CASE(a_window_lets_go_what_is_behind_it) {
  BlockPool pool({.sequences = 1,
                  .capacity = 100000,
                  .rows = 16,
                  .blocks = 15,
                  .chunk = 16,
                  .kept = {.sinks = 64, .reach = 20}});
  Written written(pool, 1);
  BOOST_REQUIRE(pool.reserve(0, 100000));
  for (int64_t length = 0; length < 99000; length += 16) {
    BOOST_REQUIRE(written.append({16}));
    written.let_go(0);
    if (length % 1600 == 0) written.check();
  }
  BOOST_TEST(pool.use().most_used <= pool.most_at_once());
  BOOST_TEST(pool.use().most_used > 8);
}
