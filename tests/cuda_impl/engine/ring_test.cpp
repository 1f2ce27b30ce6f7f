// Decoders that keep a window of a sequence compute what a forward pass over all of it does, long
// after the first positions have been overwritten; those that read their keys in parts nearly so.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "decoding.h"
#include "models.h"
#include "recorder.h"

using namespace assay;
using namespace assay::engine_test;
using golden::ModelConfig;
using golden::Precision;
using Values = std::vector<double>;

namespace {

constexpr int64_t kT = 290;

// Window 5, sinks 2 and chunks of up to 40: 64 rows that stay and 128 in turn.
std::vector<ModelConfig> ring_models() {
  std::vector<ModelConfig> all;
  for (const char* method : {"plain", "1", "3.1", "4.2", "5.1", "5.1D", "5.1E"}) {
    for (ModelConfig config : {tiny(method, 2), tiny_gpt2(method, golden::NormPosition::pre)}) {
      config.max_position_embeddings = kT;
      config.window = 5;
      config.sink_tokens = config.block == golden::BlockKind::llama ? 0 : 2;
      all.push_back(config);
      config.window_kind = golden::WindowKind::dynamic;
      all.push_back(config);
    }
  }
  return all;
}

// Rows that go on by different counts, one position and many, across the end of the ring.
void read_all(Reader& reader) {
  reader.read({40, 33});
  reader.read({1, 7});
  reader.read({0, 40});
  for (int step = 0; step < 4; ++step) reader.read({40, 39});
  reader.read({1, 1});
  reader.read({40, 0});
  reader.read({40, 40});
  for (int step = 0; step < 3; ++step) reader.read({1, 1});
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_method_goes_round_and_computes_what_its_forward_pass_does) {
  Tokens tokens(2, kT);
  for (const std::size_t place : {3u, 200u, 290u + 130u, 290u + 131u}) tokens.mask[place] = 0;
  for (const ModelConfig& config : sampled(ring_models())) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const auto model = make(config, Precision::fp32);
    Reader reader(*model, tokens, kT, 40);
    BOOST_TEST(reader.decoder().cache_rows() == (config.sink_tokens > 0 ? 192 : 128));
    read_all(reader);
  }
}

BOOST_AUTO_TEST_CASE(every_precision_goes_round) {
  const Tokens tokens(2, kT);
  ModelConfig config = tiny("5.1", 2);
  config.max_position_embeddings = kT;
  config.head_dim = 16;  // which tensor cores take
  config.window = 20;
  config.sink_tokens = 1;
  for (const Precision precision : kPrecisions) {
    const auto model = make(config, precision);
    Reader reader(*model, tokens, kT, 40);
    BOOST_TEST(reader.decoder().cache_rows() == 192);
    read_all(reader);
  }
}

BOOST_AUTO_TEST_CASE(stacked_recomputes_go_round) {
  const Tokens tokens(2, kT);
  ModelConfig config = tiny("4.2", 3);
  config.max_position_embeddings = kT;
  config.window = 7;
  const auto model = make(config, Precision::fp32, {.recompute = cuda::Recompute::stacked});
  Reader reader(*model, tokens, kT, 40);
  read_all(reader);
}

BOOST_AUTO_TEST_CASE(a_sequence_that_went_round_starts_again) {
  const Tokens tokens(2, kT);
  ModelConfig config = tiny("1", 2);
  config.max_position_embeddings = kT;
  config.window = 5;
  config.sink_tokens = 2;
  const auto model = make(config, Precision::fp32);
  Reader reader(*model, tokens, kT, 40);
  for (int step = 0; step < 6; ++step) reader.read({40, 40});
  reader.decoder().reset(0);
  for (int step = 0; step < 6; ++step) reader.read({39, 1});
}

// Parameters for each position, or a layer that sees everything: every position is kept.
BOOST_AUTO_TEST_CASE(what_a_window_does_not_bound_is_kept_whole) {
  const auto rows = [](ModelConfig config, int64_t chunk) {
    config.max_position_embeddings = kT;
    return make(config, Precision::fp32)->decoder(1, kT, chunk)->cache_rows();
  };
  ModelConfig config = tiny("plain");
  BOOST_TEST(rows(config, 1) == kT);
  config.window = 5;
  BOOST_TEST(rows(config, 1) == 128);
  BOOST_TEST(rows(config, 0) == kT);
  config.window = 250;
  BOOST_TEST(rows(config, 1) == kT);
  config.window = 5;
  config.full_layers = {1};
  BOOST_TEST(rows(config, 1) == kT);
  config = tiny("5.1B");
  config.score_positions = kT;
  config.window = 5;
  BOOST_TEST(rows(config, 1) == kT);
}

BOOST_AUTO_TEST_CASE(a_chunk_larger_than_promised_is_refused_and_nothing_is_lost) {
  const Tokens tokens(2, kT);
  ModelConfig config = tiny("plain");
  config.max_position_embeddings = kT;
  config.window = 5;
  const auto model = make(config, Precision::fp32);
  check_refused([&] { model->decoder(2, kT, kT + 1); },
                "decoder: chunk: expected 0 .. the capacity 290, got 291");
  Reader reader(*model, tokens, kT, 8);
  reader.read({8, 8});
  const std::vector<int32_t> ids(18, 1);
  check_refused(
      [&] {
        reader.decoder().append({9, ids, {}, {}}, {});
      },
      "chunk: C: expected at most the 8 positions that the decoder was made for, got 9");
  reader.read({8, 1});
}

namespace {

// The logits [steps,V] of a sequence of `tokens` behind a prompt, one position at a time.
Values steps_of(const ModelConfig& config, const cuda::ModelOptions& options, int64_t row,
                int64_t rows, int64_t capacity, const Tokens& tokens) {
  const auto model = make(config, Precision::fp64, options);
  const auto decoder = model->decoder(rows, capacity, 64);
  const auto b = static_cast<std::size_t>(row), V = static_cast<std::size_t>(kV);
  Values out, logits(static_cast<std::size_t>(rows) * V);
  for (int64_t t = 0; t < tokens.T;) {
    const int64_t C = t < 192 ? 64 : 1;
    std::vector<int32_t> ids(static_cast<std::size_t>(rows * C), 1);
    std::copy_n(tokens.tokens.begin() + t, C, ids.begin() + row * C);
    decoder->append({C, ids, {}, {}}, logits);
    t += C;
    if (C == 1) out.insert(out.end(), logits.begin() + b * V, logits.begin() + (b + 1) * V);
  }
  return out;
}

}  // namespace

// Other sums than those of one block: 210 terms in another order are off by 210 x 2^-53 = 2e-14 of
// their size at most, before two layers and the head; 2.2e-15 is what is seen. A row has the same
// bits whatever stands beside it, and however large its cache is.
BOOST_AUTO_TEST_CASE(keys_in_parts_give_the_same_whoever_is_beside) {
  const Tokens tokens(1, 210);
  for (const char* method : {"plain", "1", "5.1", "5.1E"}) {
    for (const int64_t window : {0, 40}) {
      ModelConfig config = tiny(method, 2);
      config.max_position_embeddings = 400;
      config.window = window;
      config.sink_tokens = window == 0 ? 0 : 3;
      BOOST_TEST_INFO_SCOPE(text_of(config));
      const cuda::ModelOptions parts{.key_span = 64};
      const Values whole = steps_of(config, {}, 0, 1, 210, tokens);
      const Values split = steps_of(config, parts, 0, 1, 210, tokens);
      const Values beside = steps_of(config, parts, 2, 3, 400, tokens);
      BOOST_TEST((split == beside));
      double largest = 0;
      for (std::size_t i = 0; i < whole.size(); ++i) {
        largest = std::max(largest, std::fabs(split[i] - whole[i]));
      }
      BOOST_TEST_MESSAGE(text_of(config) << ": largest difference " << largest);
      BOOST_TEST(largest < 1e-12);
      BOOST_TEST(largest > 0);
    }
  }
}
