// A cache in blocks gives the bits of a flat one, which are those of the forward pass: whatever the
// sequences have shared, given back and taken again.
#include <bit>
#include <boost/test/unit_test.hpp>
#include <random>

#include "tests/cuda_impl/engine/decoding.h"
#include "tests/cuda_impl/engine/models.h"
#include "tests/cuda_impl/engine/recorder.h"

using namespace assay;
using namespace assay::engine_test;
using cuda::ModelOptions;
using golden::ModelConfig;
using golden::Precision;
using Values = std::vector<double>;

namespace {

ModelOptions in_blocks(std::size_t positions, std::size_t count = 0) {
  ModelOptions options;
  options.cache.positions = positions;
  options.cache.count = count;
  return options;
}

std::vector<ModelConfig> block_models() {
  std::vector<ModelConfig> configs = decoding_models();
  for (const ModelConfig& config : windowed_models()) configs.push_back(config);
  return configs;
}

// A decoder with blocks beside a flat one; both hear the same, but for what the first refuses.
class Pair {
 public:
  Pair(cuda::Model& flat, cuda::Model& blocks, int64_t rows, int64_t capacity)
      : flat_(flat.decoder(rows, capacity)), blocks_(blocks.decoder(rows, capacity)), rows_(rows) {}

  // Whether there was room; logits are compared bit for bit.
  bool append(const cuda::Chunk& chunk) {
    Values flat(static_cast<std::size_t>(rows_ * kV)), blocks(flat.size(), -1.0);
    const std::vector<int64_t> before(lengths().begin(), lengths().end());
    try {
      blocks_->append(chunk, blocks);
    } catch (const InputError&) {
      BOOST_REQUIRE((std::ranges::equal(before, blocks_->lengths())));
      return false;
    }
    flat_->append(chunk, flat);
    for (std::size_t i = 0; i < flat.size(); ++i) {
      BOOST_REQUIRE_MESSAGE(std::bit_cast<uint64_t>(flat[i]) == std::bit_cast<uint64_t>(blocks[i]),
                            "row " << i / kV << ": logit " << blocks[i] << ", flat " << flat[i]);
    }
    BOOST_REQUIRE((std::ranges::equal(flat_->lengths(), blocks_->lengths())));
    return true;
  }
  void reset(int64_t row) {
    flat_->reset(row);
    blocks_->reset(row);
  }
  // Positions of padding may keep method pt's from being shared.
  bool share(int64_t from, int64_t to, int64_t positions) {
    if (!blocks_->share(from, to, positions)) return false;
    BOOST_REQUIRE(flat_->share(from, to, positions));
    return true;
  }
  std::span<const int64_t> lengths() const { return blocks_->lengths(); }
  cuda::Decoder& blocks() { return *blocks_; }
  cuda::Decoder& flat() { return *flat_; }

 private:
  std::unique_ptr<cuda::Decoder> flat_, blocks_;
  int64_t rows_;
};

struct Happened {
  int64_t appended = 0, refused = 0, shared = 0, copied = 0;
};

// Rows that grow, begin like others, end and begin again.
Happened run_at_random(const ModelConfig& config, Precision precision, const ModelOptions& base,
                       uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
  };
  const int64_t rows = 2 + below(3), capacity = 20 + below(44), positions = 1 + below(24);
  ModelOptions options = base;
  options.cache.positions = static_cast<std::size_t>(positions);
  const int64_t all = rows * ((capacity + positions - 1) / positions);
  options.cache.count = static_cast<std::size_t>(seed % 2 == 0 ? 0 : 1 + below(all));
  const auto flat = make(config, precision, base), blocks = make(config, precision, options);
  Pair pair(*flat, *blocks, rows, capacity);
  Happened happened;
  for (int step = 0; step < 14; ++step) {
    const int64_t row = below(rows), other = (row + 1 + below(rows - 1)) % rows;
    const int64_t kind = below(6);
    if (kind == 0) pair.reset(row);
    if (kind == 1) {
      const int64_t length = pair.lengths()[static_cast<std::size_t>(other)];
      happened.shared += pair.share(other, row, below(length + 1));
    }
    if (kind < 2) continue;
    const int64_t C = kind == 2 ? 1 + below(capacity) : 1 + below(4);
    std::vector<int32_t> counts, ids;
    std::vector<uint8_t> mask;
    for (int64_t b = 0; b < rows; ++b) {
      const int64_t left = capacity - pair.lengths()[static_cast<std::size_t>(b)];
      counts.push_back(static_cast<int32_t>(std::min(left, below(C + 1))));
    }
    for (int64_t i = 0; i < rows * C; ++i) {
      ids.push_back(static_cast<int32_t>(below(kV)));
      mask.push_back(below(12) != 0 || config.method == "pt");
    }
    (pair.append({C, ids, mask, counts}) ? happened.appended : happened.refused) += 1;
  }
  happened.copied = pair.blocks().block_use().copied;
  return happened;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_method_decodes_in_blocks_what_its_forward_pass_computes) {
  Tokens tokens(3, 38);
  for (const std::size_t place : {0u, 1u, 5u, 38u + 36u, 38u + 20u}) tokens.mask[place] = 0;
  std::size_t positions = 0;
  for (const ModelConfig& config : sampled(block_models())) {
    positions = positions % 40 + 3;
    BOOST_TEST_INFO_SCOPE(text_of(config) << ", blocks of " << positions);
    const auto model = make(config, Precision::fp32, in_blocks(positions));
    Reader reader(*model, tokens, 38);
    for (const std::vector<int32_t>& counts : std::vector<std::vector<int32_t>>{
             {7, 33, 1}, {1, 0, 1}, {0, 5, 2}, {28, 0, 33}, {1, 0, 1}, {1, 0, 0}}) {
      reader.read(counts);
    }
  }
}

BOOST_AUTO_TEST_CASE(blocks_that_are_shared_given_back_and_taken_again_change_no_bit) {
  Happened all;
  uint64_t seed = 0;
  for (const ModelConfig& config : sampled(block_models())) {
    ++seed;
    BOOST_TEST_INFO_SCOPE(text_of(config) << ", seed " << seed);
    const Happened one = run_at_random(config, Precision::fp32, {}, seed);
    all.appended += one.appended;
    all.refused += one.refused;
    all.shared += one.shared;
    all.copied += one.copied;
  }
  BOOST_TEST_MESSAGE(all.appended << " appended, " << all.refused << " refused, " << all.shared
                                  << " shared, " << all.copied << " copied");
  BOOST_TEST(all.appended > 100);
  BOOST_TEST(all.refused > 10);
  BOOST_TEST(all.shared > 20);
  BOOST_TEST(all.copied > 10);
}

// Heads that tensor cores take; all earlier layers at once; keys in parts.
BOOST_AUTO_TEST_CASE(every_variant_of_attention_reads_blocks) {
  uint64_t seed = 100;
  for (const char* method : {"plain", "1", "4.2", "5.1", "5.1A", "5.1D", "5.1E"}) {
    for (const int64_t window : {0, 9}) {
      ModelConfig config = tiny(method, 2);
      if (golden::find_method(config.method).takes("score_positions")) config.score_positions = 64;
      config.head_dim = 16;
      config.window = window;
      config.sink_tokens = window == 0 ? 0 : 2;
      for (const Precision precision : kPrecisions) {
        BOOST_TEST_INFO_SCOPE(text_of(config) << ", seed " << seed);
        run_at_random(config, precision, {}, ++seed);
      }
      run_at_random(config, Precision::fp32, {.key_span = 32}, ++seed);
      if (recomputes(config)) {
        run_at_random(config, Precision::bf16, {.recompute = cuda::Recompute::stacked}, ++seed);
      }
    }
  }
}

// What is behind the window is let go, and the bits are those of the forward pass to the end.
BOOST_AUTO_TEST_CASE(a_window_in_blocks_takes_what_it_reaches) {
  constexpr int64_t kT = 290;
  Tokens tokens(2, kT);
  for (const std::size_t place : {3u, 200u, 290u + 130u}) tokens.mask[place] = 0;
  for (const char* method : {"plain", "1", "4.2", "5.1", "5.1D", "5.1E"}) {
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      for (const std::size_t positions : {7u, 16u, 60u}) {
        ModelConfig config = tiny(method, 2);
        config.head_dim = 16;
        config.max_position_embeddings = kT;
        config.window = 5;
        config.sink_tokens = positions == 16 ? 2 : 0;
        BOOST_TEST_INFO_SCOPE(text_of(config) << ", blocks of " << positions);
        const auto model = make(config, precision, in_blocks(positions));
        Reader reader(*model, tokens, kT, 40);
        reader.read({40, 33});
        reader.read({1, 7});
        for (int step = 0; step < 5; ++step) reader.read({40, 39});
        for (int step = 0; step < 3; ++step) reader.read({1, 1});
        const cuda::BlockUse use = reader.decoder().block_use();
        BOOST_TEST(use.used <= 2 * reader.decoder().cache_rows() / static_cast<int64_t>(positions));
        BOOST_TEST(reader.decoder().cache_rows() < kT);
        BOOST_TEST(!reader.decoder().share(0, 1, 1));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_cache_takes_what_its_sequences_have_and_not_what_they_might) {
  const ModelConfig config = tiny("1");
  const auto flat = make(config, Precision::fp32),
             blocks = make(config, Precision::fp32, in_blocks(4));
  Pair pair(*flat, *blocks, 8, 64);
  std::vector<int32_t> ids(8, 1);
  for (int step = 0; step < 4; ++step) BOOST_REQUIRE(pair.append({1, ids, {}, {}}));
  BOOST_TEST(pair.blocks().block_use().used == 8);
  // 8 blocks of 4 positions of the 8 x 64 there might be, and the tables and the mask.
  const int64_t per_position = (3 + 3 + 3) * 2 * 6 * 4;
  BOOST_TEST(pair.blocks().cache_bytes() <
             8 * 4 * per_position + 9 * 256 + 8 * (64 + 64 / 4 * 4) + 1024);
  BOOST_TEST(pair.flat().cache_bytes() >= 8 * 64 * per_position);
  for (int64_t b = 1; b < 8; ++b) BOOST_REQUIRE(pair.share(0, b, 4));
  BOOST_TEST(pair.blocks().block_use().used == 1);
}

BOOST_AUTO_TEST_CASE(without_room_nothing_is_lost) {
  const ModelConfig config = tiny("4.2");
  const auto flat = make(config, Precision::fp32);
  const auto blocks = make(config, Precision::fp32, in_blocks(4, 6));
  Pair pair(*flat, *blocks, 3, 64);
  std::vector<int32_t> ids(30, 3);
  BOOST_REQUIRE(pair.append({10, ids, {}, std::vector<int32_t>{10, 5, 0}}));
  BOOST_TEST(pair.blocks().block_use().used == 5);
  BOOST_TEST(!pair.append({10, ids, {}, std::vector<int32_t>{3, 0, 1}}));
  check_refused_with(
      [&] {
        pair.blocks().append({10, ids, {}, std::vector<int32_t>{3, 0, 1}}, {});
      },
      "decoder: cache blocks: the chunk takes 2 more blocks of 4 positions");
  BOOST_REQUIRE(pair.append({1, std::span(ids).first(3), {}, std::vector<int32_t>{1, 1, 1}}));
  BOOST_TEST(!pair.blocks().reserve(2, 5));
  BOOST_TEST(!pair.blocks().share(0, 2, 10));  // no block for the copy
  BOOST_REQUIRE(pair.append({1, std::span(ids).first(3), {}, std::vector<int32_t>{1, 1, 1}}));
  pair.reset(1);
  BOOST_TEST(pair.blocks().reserve(2, 9));
  BOOST_REQUIRE(pair.append({7, std::span(ids).first(21), {}, std::vector<int32_t>{0, 0, 7}}));
  check_refused_with([&] { pair.blocks().reserve(0, 65); },
                     "decoder: reserve: expected 0 .. the capacity");
}
