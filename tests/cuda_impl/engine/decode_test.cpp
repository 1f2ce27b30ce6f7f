// Decoding with caches on the host executor: what comes out is what a forward pass over the whole
// sequence computes, however the sequence is cut into chunks.
#include <boost/test/unit_test.hpp>
#include <functional>

#include "cuda_impl/engine/blocks/forward_pass.h"
#include "cuda_impl/engine/cached_decoder.h"
#include "cuda_impl/engine/mean_field/mean_field_pass.h"
#include "decoding.h"
#include "models.h"
#include "recorder.h"

using namespace assay;
using namespace assay::engine_test;
using golden::ModelConfig;
using golden::Precision;

// A prompt of 35 positions, which is more than a tile of keys, then token by token.
BOOST_AUTO_TEST_CASE(every_method_decodes_what_its_forward_pass_computes) {
  const Tokens tokens(2, 38);
  for (const ModelConfig& config : sampled(decoding_models())) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    for (const Precision precision : kPrecisions) {
      if (precision != Precision::fp64 && config.block != golden::BlockKind::llama) continue;
      const auto model = make(config, precision);
      Reader reader(*model, tokens, 38);
      reader.read({35, 35});
      for (int t = 35; t < 38; ++t) reader.read({1, 1});
    }
  }
}

// The cache keeps what has left a window; nobody sees it.
BOOST_AUTO_TEST_CASE(windowed_models_decode_what_their_forward_pass_computes) {
  const Tokens tokens(2, 38);
  std::vector<ModelConfig> configs = sampled(windowed_models());
  for (const ModelConfig& config : sampled(dynamic_models())) configs.push_back(config);
  for (const ModelConfig& config : configs) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    for (const Precision precision : kPrecisions) {
      const auto model = make(config, precision);
      Reader reader(*model, tokens, 38);
      reader.read({35, 35});
      for (int t = 35; t < 38; ++t) reader.read({1, 1});
    }
  }
}

// Heads that tensor cores take, more than one of their tiles, and windows that start in the second.
BOOST_AUTO_TEST_CASE(windows_on_tensor_cores_decode_what_their_forward_pass_computes) {
  const Tokens tokens(2, 132);
  for (const char* method : {"plain", "1", "5.1"}) {
    ModelConfig config = tiny(method, 2);
    config.head_dim = 16;
    config.max_position_embeddings = 132;
    config.window = 20;
    for (const int64_t sinks : {0, 1}) {
      config.sink_tokens = sinks;
      const auto model = make(config, Precision::bf16);
      Reader reader(*model, tokens, 132);
      reader.read({129, 90});
      for (int t = 0; t < 3; ++t) reader.read({1, 1});
    }
  }
}

BOOST_AUTO_TEST_CASE(chunks_of_any_sizes_and_ragged_rows_with_padding) {
  Tokens tokens(3, 38);
  for (const std::size_t place : {0u, 1u, 5u, 38u + 36u, 38u + 20u, 76u + 0u})
    tokens.mask[place] = 0;
  std::vector<ModelConfig> configs = decoding_models();
  for (const ModelConfig& config : sampled(windowed_models())) configs.push_back(config);
  for (const ModelConfig& config : sampled(dynamic_models())) configs.push_back(config);
  for (const ModelConfig& config : sampled(configs)) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const auto model = make(config, Precision::fp32);
    Reader reader(*model, tokens, 64);
    for (const std::vector<int32_t>& counts : std::vector<std::vector<int32_t>>{
             {7, 33, 1}, {1, 0, 1}, {0, 5, 2}, {30, 0, 33}, {0, 0, 1}}) {
      reader.read(counts);
    }
  }
}

// With all earlier layers run again at once: one append for their values.
BOOST_AUTO_TEST_CASE(stacked_recomputes_decode_too) {
  Tokens tokens(2, 38);
  tokens.mask[0] = tokens.mask[5] = 0;
  for (const ModelConfig& config : sampled(models(4))) {
    if (!recomputes(config)) continue;
    BOOST_TEST_INFO_SCOPE(text_of(config));
    for (const Precision precision : kPrecisions) {
      if (precision != Precision::fp64 && config.block != golden::BlockKind::llama) continue;
      const auto model = make(config, precision, {.recompute = cuda::Recompute::stacked});
      Reader reader(*model, tokens, 64);
      for (const std::vector<int32_t>& counts :
           std::vector<std::vector<int32_t>>{{7, 33}, {1, 0}, {0, 5}, {30, 0}}) {
        reader.read(counts);
      }
    }
  }
}

// A row that starts again does not see what it held, and its neighbour goes on.
BOOST_AUTO_TEST_CASE(a_sequence_starts_again) {
  const Tokens tokens(2, 12);
  std::vector<ModelConfig> configs{tiny("1")};
  for (const ModelConfig& config : prob_transformers()) {
    if (config.pt.causal_heads) configs.push_back(config);
  }
  for (const ModelConfig& config : sampled(configs)) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const auto model = make(config, Precision::fp64);
    Reader reader(*model, tokens, 12);
    reader.read({9, 5});
    reader.decoder().reset(0);
    reader.read({3, 2});
    reader.read({9, 5});
    check_refused([&] { reader.decoder().reset(2); }, "decoder: sequence: expected 0 .. 1, got 2");
  }
}

// A model's own passes and a second decoder change nothing, nor does its end.
BOOST_AUTO_TEST_CASE(decoders_stand_for_themselves) {
  const Tokens tokens(1, 9);
  for (const ModelConfig& config : {tiny("2"), prob_transformers().front()}) {
    auto model = make(config, Precision::fp32);
    Reader reader(*model, tokens, 9);
    Reader other(*model, tokens, 12);
    reader.read({4});
    forward_logits(*model, Tokens(2, 5));
    other.read({6});
    reader.read({2});
    model.reset();
    reader.read({3});
    other.read({1});
  }
}

BOOST_AUTO_TEST_CASE(a_refused_chunk_appends_nothing) {
  const Tokens tokens(2, 8);
  const auto model = make(tiny("plain"), Precision::fp32);
  Reader reader(*model, tokens, 8);
  cuda::Decoder& decoder = reader.decoder();
  reader.read({5, 6});
  std::vector<double> logits(2 * kV);
  std::vector<int32_t> ids(6, 1), counts{3, 3};
  const auto refused = [&](const cuda::Chunk& chunk, const std::string& message) {
    check_refused([&] { decoder.append(chunk, logits); }, message);
  };
  refused({3, ids, {}, {}},
          "chunk: sequence 1: expected at most 8 positions in all, got 3 after 6: make the decoder "
          "with a larger capacity, or reset the sequence");
  counts = {3, 4};
  refused({3, ids, {}, counts}, "chunk: counts at (b1,t0): expected 0 .. 3, got 4");
  refused({0, {}, {}, {}}, "chunk: C: expected at least 1 position, got 0");
  refused({2, ids, {}, {}}, "chunk: tokens: expected 4 values ([B,C] = [2,2]), got 6");
  ids[4] = 11;
  refused({3, ids, {}, {}}, "chunk: tokens at (b1,t1): expected 0 .. 10, got 11");
  logits.resize(5);
  ids.assign(2, 1);
  refused({1, ids, {}, {}}, "decoder: logits: expected 22 values ([B,V] = [2,11]), got 5");
  reader.read({3, 2});
}

BOOST_AUTO_TEST_CASE(a_capacity_past_what_the_config_has_is_refused) {
  const auto plain = make(tiny("plain"), Precision::fp32);
  check_refused([&] { plain->decoder(1, 65); },
                "decoder: capacity: expected at most max_position_embeddings = 64, got 65");
  check_refused([&] { plain->decoder(0, 4); },
                "decoder: expected at least 1 sequence and 1 position, got 0, 4");
  ModelConfig config = tiny("5.1B");
  config.score_positions = 6;
  const auto limited = make(config, Precision::fp32);
  check_refused([&] { limited->decoder(1, 7); },
                "decoder: capacity: expected at most score_positions, for which the method has "
                "parameters, = 6, got 7");
}

BOOST_AUTO_TEST_CASE(where_later_words_are_heard_decoding_is_refused) {
  ModelConfig config = tiny("pt");
  const auto refused = [&](const std::string& message) {
    const auto model = make(config, Precision::fp32);
    BOOST_CHECK_EXCEPTION(model->decoder(1, 4), Unsupported, [&](const Unsupported& error) {
      BOOST_TEST(error.what() == message);
      return true;
    });
  };
  refused(
      "decoder: method pt: message full is not causal: a word would hear from every later word "
      "whose head it is; expected message head or symmetric, with causal_heads");
  config.pt.message = golden::ProbTransformer::Message::head;
  refused(
      "decoder: method pt: heads on both sides are not causal: the head of a word may stand behind "
      "it; expected causal_heads");
  config.pt.causal_heads = true;
  const auto model = make(config, Precision::fp32);
  check_refused([&] { model->decoder(1, 65); },
                "decoder: capacity: expected at most max_position_embeddings = 64, got 65");
}

// Per position L keys, L values and, where layers are run again, L(L-1)/2 values more.
BOOST_AUTO_TEST_CASE(cache_is_as_large_as_its_header_says) {
  const int64_t B = 2, R = 64, row = 2 * 6 * 4;  // Hkv Dh sizeof(float)
  const auto bytes_of = [&](const ModelConfig& config) {
    return make(config, Precision::fp32)->decoder(B, R)->cache_bytes();
  };
  const auto check = [&](const ModelConfig& config, int64_t per_position) {
    const int64_t slack = 16 * 256;  // arrays begin at multiples of 256 bytes
    BOOST_TEST(bytes_of(config) >= B * R * per_position);
    BOOST_TEST(bytes_of(config) <= B * R * per_position + slack);
  };
  check(tiny("plain", 4), 8 * row + 1);
  check(tiny("5.1", 4), 8 * row + 1);
  check(tiny("1", 4), (8 + 6) * row + 1);
  check(tiny("4.2", 4), (8 + 6) * row + 1);
  BOOST_TEST(make(tiny("1", 4), Precision::fp32, {.recompute = cuda::Recompute::stacked})
                 ->decoder(B, R)
                 ->cache_bytes() <= B * R * ((8 + 6) * row + 1) + 16 * 256);
  check(tiny("5.1D", 4), 8 * row + (1 + 2 + 3 + 4) * 4 + 1);
}

// Per word the keys of every round, of the groups that speak in it.
BOOST_AUTO_TEST_CASE(cache_of_pt_is_as_large_as_its_header_says) {
  using PT = golden::ProbTransformer;
  const int64_t B = 2, R = 64;
  const auto check = [&](const PT& pt, int64_t keys) {
    ModelConfig config = tiny("pt");
    config.pt = pt;
    const int64_t bytes = make(config, Precision::fp32)->decoder(B, R)->cache_bytes();
    const int64_t expected = B * R * (keys * 6 * 4 + 1);  // r sizeof(float), and whether it is real
    BOOST_TEST(bytes >= expected);
    BOOST_TEST(bytes <= expected + 16 * 256);  // arrays begin at multiples of 256 bytes
  };
  const PT pt{.iterations = 3, .message = PT::Message::head, .causal_heads = true};
  const auto with = [&](const auto& change) {
    PT changed = pt;
    change(changed);
    return changed;
  };
  check(pt, 3 * 4);
  check(with([](PT& x) { x.distances = std::vector<int64_t>{2, 4}; }), 3 * 4 * 3);
  check(with([](PT& x) { x.label_groups = 2; }), 3 * 4 * 2);
  check(with([](PT& x) { x.head_groups = 2; }), 3 * 4 * 2);
  check(with([](PT& x) {
          x.head_groups = 2;
          x.updates = PT::Updates::in_turn;
        }),
        (1 + 2 + 2) * 4);
}

namespace {

template <class Pass>
void check_steps_do_not_allocate(const ModelConfig& config) {
  cuda::CachedDecoder<Pass> decoder(
      std::make_shared<const typename Pass::OwnParts>(config, Precision::fp32,
                                                      golden::SyntheticWeights(config, 7)),
      1, 64, 64, {});
  const Tokens prompt(1, 40), token(1, 1);
  decoder.append({40, prompt.tokens, {}, {}}, {});
  const int64_t allocations = decoder.allocations();
  for (int t = 40; t < 64; ++t) decoder.append({1, token.tokens, {}, {}}, {});
  decoder.reset(0);
  decoder.append({40, prompt.tokens, {}, {}}, {});
  BOOST_TEST(decoder.allocations() == allocations);
}

}  // namespace

BOOST_AUTO_TEST_CASE(steps_do_not_allocate) {
  check_steps_do_not_allocate<cuda::ForwardPass<float>>(tiny("1"));
  check_steps_do_not_allocate<cuda::MeanFieldPass<float>>(prob_transformers().front());
}

// Row 1 begins like row 0 and goes on by itself.
BOOST_AUTO_TEST_CASE(a_shared_beginning_is_as_good_as_read) {
  Tokens tokens(2, 20);
  std::copy_n(tokens.tokens.begin(), 11, tokens.tokens.begin() + 20);
  std::vector<ModelConfig> configs = decoding_models();
  for (const ModelConfig& config : sampled(windowed_models())) configs.push_back(config);
  for (const ModelConfig& config : sampled(dynamic_models())) configs.push_back(config);
  for (const ModelConfig& config : sampled(configs)) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const auto model = make(config, Precision::fp32);
    Reader reader(*model, tokens, 20);
    reader.read({0, 3});
    reader.decoder().reset(1);
    reader.read({13, 0});
    BOOST_TEST(reader.decoder().share(0, 1, 11));
    BOOST_TEST(reader.decoder().lengths()[1] == 11);
    reader.read({2, 4});
    reader.read({1, 1});
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_shared_is_refused) {
  const Tokens tokens(2, 8);
  const auto model = make(tiny("plain"), Precision::fp32);
  Reader reader(*model, tokens, 8);
  reader.read({4, 2});
  const auto refused = [&](int64_t from, int64_t to, int64_t positions, const std::string& why) {
    check_refused([&] { reader.decoder().share(from, to, positions); }, why);
  };
  const std::string share = "decoder: share: expected 0 .. 4 positions of another sequence, got ";
  refused(0, 1, 5, share + "5 of 0 for 1");
  refused(0, 1, -1, share + "-1 of 0 for 1");
  refused(0, 0, 2, share + "2 of 0 for 0");
  refused(2, 1, 2, "decoder: sequence: expected 0 .. 1, got 2");
  refused(0, -1, 2, "decoder: sequence: expected 0 .. 1, got -1");
  reader.read({1, 1});
}

// A ring that has written over some of its rows has not kept them.
BOOST_AUTO_TEST_CASE(what_a_ring_has_not_kept_is_not_shared) {
  ModelConfig config = tiny("plain");
  config.window = 8;
  config.max_position_embeddings = 512;
  const auto model = make(config, Precision::fp32);
  const auto decoder = model->decoder(2, 512, 4);
  const std::vector<int32_t> ids(8, 1);
  for (int64_t read = 0; read < decoder->cache_rows(); read += 4) {
    decoder->append({4, ids, {}, {}}, {});
  }
  BOOST_TEST(decoder->share(0, 1, 5));
  decoder->append({4, ids, {}, {}}, {});
  BOOST_TEST(!decoder->share(0, 1, 5));
}
