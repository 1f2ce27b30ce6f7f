// Streams: what they keep, what they refuse, and that a refusal changes nothing.
#include "reference/streaming/streamed_model.h"

#include <boost/test/unit_test.hpp>
#include <numeric>

#include "golden/contract/error.h"
#include "golden/contract/methods.h"
#include "golden/contract/weights.h"
#include "reference/numbers/array.h"
#include "reference/streaming/ring_cache.h"
#include "reference/streaming/tiered_cache.h"
#include "tests/cli/systems/refusing_cache.h"
#include "tests/reference/models.h"
#include "tests/reference/prob_transformer/variants.h"
#include "tests/reference/streaming/stream_case.h"

namespace assay::reference::testing {
namespace {

ModelConfig windowed(const std::string& method, int64_t window, int64_t sinks = 0) {
  ModelConfig config = ragged_config(method);
  config.window = window;
  config.sink_tokens = sinks;
  return config;
}

std::unique_ptr<StreamedModel> made(const ModelConfig& config, const StreamOptions& options) {
  return std::make_unique<StreamedModel>(config, golden::SyntheticWeights(config, 3), options);
}

std::vector<int32_t> tokens_of(const ModelConfig& config, int64_t count, uint64_t seed = 9) {
  return golden::synthetic_tokens(config.vocab_size, 1, count, seed);
}

template <class Run>
std::string refusal(Run&& run) {
  try {
    run();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::vector<double> logits_after(StreamedModel& model, int64_t sequence,
                                 std::span<const int32_t> tokens) {
  std::vector<double> logits(tokens.size() * static_cast<std::size_t>(model.vocab_size()));
  model.append(sequence, tokens, logits);
  return logits;
}

int64_t kept_heads_times_width(const StreamedModel& model) {
  int64_t total = 0;
  for (const KeptTensor& tensor : model.kept()) total += tensor.heads * tensor.width;
  return total;
}

}  // namespace

// L = 3 layers of Hkv = 3 heads of Dh = 4: 12 numbers of a K or a V.
BOOST_AUTO_TEST_CASE(each_method_keeps_what_later_positions_read) {
  const auto units = [](const std::string& method) {
    return kept_heads_times_width(*made(windowed(method, 4), {})) / 12.0;
  };
  BOOST_TEST(units("plain") == 6);  // K and V
  for (const char* recompute : {"1", "2", "3.1", "3.2", "4.1", "4.2", "1-plan-b"}) {
    BOOST_TEST(units(recompute) == 3 + 3 + 3, recompute);  // K, V, and 0+1+2 layers run again
  }
  for (const char* scores : {"5.1", "5.4", "5.5", "5.8", "5.1D", "D-base"}) {
    BOOST_TEST(units(scores) == 6, scores);
  }
  BOOST_TEST(units("5.1E") == 6 + (1 + 2 + 3) / 12.0);  // a factor a key for each of m layers
}

BOOST_AUTO_TEST_CASE(no_method_keeps_nothing) {
  for (const ModelConfig& config : streamed_configs()) {
    StreamOptions options;
    options.capacity = options.chunk = 8;
    const auto model = made(config, options);
    BOOST_TEST(kept_heads_times_width(*model) > 0, title(config));
    // 8 positions, of which a byte says whether they are real.
    BOOST_TEST(model->statistics(0).bytes == 8 * (8 * kept_heads_times_width(*model) + 1));
  }
}

BOOST_AUTO_TEST_CASE(statistics_follow_the_positions) {
  const ModelConfig config = windowed("1", 4, 2);
  const auto model = made(config, {.batch = 2, .capacity = 6, .chunk = 3});
  const auto tokens = tokens_of(config, 20);
  model->append(1, std::span(tokens).first(5), {});
  StreamStatistics s = model->statistics(1);
  BOOST_TEST(s.length == 5);
  BOOST_TEST(s.held == 5);
  BOOST_TEST(s.evictions == 0);
  BOOST_TEST(s.capacity == 8);  // 6 and 2 sinks
  BOOST_TEST(s.utilisation == 5.0 / 8);
  model->append(1, std::span(tokens).subspan(5), {});
  s = model->statistics(1);
  BOOST_TEST(s.length == 20);
  BOOST_TEST(s.held == 8);
  BOOST_TEST(s.evictions == 12);
  BOOST_TEST(model->statistics(0).length == 0);
  model->reset(1);
  BOOST_TEST(model->statistics(1).length == 0);
  BOOST_TEST(model->statistics(1).evictions == 0);
}

BOOST_AUTO_TEST_CASE(memory_does_not_grow_with_the_length) {
  const ModelConfig config = windowed("1", 4, 1);
  const auto model = made(config, {.chunk = 5});
  const auto tokens = tokens_of(config, 400);
  const auto span = std::span(tokens);
  std::vector<double> logits(20 * static_cast<std::size_t>(config.vocab_size));
  model->append(0, span.first(20), logits);
  const int64_t live = live_bytes();
  reset_peak_bytes();
  model->append(0, span.subspan(20, 20), logits);
  const int64_t peak = peak_bytes();
  reset_peak_bytes();
  for (std::size_t t = 40; t < 400; t += 20) model->append(0, span.subspan(t, 20), logits);
  BOOST_TEST(live_bytes() == live);
  BOOST_TEST(peak_bytes() == peak);
  BOOST_TEST(peak > live);
}

BOOST_AUTO_TEST_CASE(logits_of_the_last_position_are_those_of_all) {
  const ModelConfig config = windowed("5.1", 3);
  const auto model = made(config, {.batch = 2, .chunk = 4});
  const auto tokens = tokens_of(config, 11);
  const std::vector<double> all = logits_after(*model, 0, tokens);
  std::vector<double> last(static_cast<std::size_t>(config.vocab_size));
  model->append(1, tokens, last);
  BOOST_TEST(last == std::vector<double>(all.end() - config.vocab_size, all.end()),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(sizes_that_cannot_be_are_refused_with_the_reason) {
  const ModelConfig config = windowed("plain", 8);
  const auto said = [&](const StreamOptions& options, const ModelConfig& of) {
    return refusal([&] { made(of, options); });
  };
  BOOST_TEST(says(said({.capacity = 7, .chunk = 2}, config), "at least the window, 8 positions"));
  BOOST_TEST(says(said({.capacity = 8, .chunk = 9}, config), "at most the capacity, 8 positions"));
  BOOST_TEST(says(said({.batch = 0}, config), "sequences: expected 1 .. 2^40, got 0"));
  BOOST_TEST(says(said({.chunk = 0}, config), "chunk: expected 1 .. 2^40, got 0"));
  BOOST_TEST(says(said({.capacity = -3}, config), "capacity: expected 1 .. 2^40, got -3"));
  BOOST_TEST(says(said({}, ragged_config("plain")), "the longest sequence"));
  ModelConfig mixed = config;
  mixed.full_layers = {1};
  BOOST_TEST(says(said({}, mixed), "the longest sequence"));
  BOOST_TEST(says(said({.capacity = 8, .chunk = 4}, pt_config()), "expected causal_heads"));
  BOOST_TEST(said({.capacity = 8, .chunk = 8}, config) == "");
}

// Whatever is wrong with one piece, no sequence has moved, and both go on as if nobody had asked.
BOOST_AUTO_TEST_CASE(a_refused_piece_changes_no_sequence) {
  const ModelConfig config = windowed("1", 4);
  const auto model = made(config, {.batch = 2, .chunk = 3});
  const auto undisturbed = made(config, {.batch = 2, .chunk = 3});
  const auto tokens = tokens_of(config, 12);
  const auto span = std::span(tokens);
  for (const auto& m : {model.get(), undisturbed.get()}) {
    m->append(0, span.first(5), {});
    m->append(1, span.first(7), {});
  }
  const std::vector<int32_t> beyond{1, 11}, negative{-1};
  std::vector<double> short_logits(5);
  const std::vector<uint8_t> short_mask{1};
  const Piece good{.sequence = 0, .tokens = span.first(3), .logits = {}};
  const std::vector<std::pair<Piece, std::string>> bad{
      {{.sequence = 1, .tokens = beyond, .logits = {}}, "token 1 of the piece: expected 0 .. 10"},
      {{.sequence = 1, .tokens = negative, .logits = {}}, "token 0 of the piece"},
      {{.sequence = 1, .tokens = {}, .logits = {}}, "at least one token, got none"},
      {{.sequence = 2, .tokens = span, .logits = {}}, "sequence 2: expected 0 .. 1"},
      {{.sequence = -1, .tokens = span, .logits = {}}, "sequence -1: expected 0 .. 1"},
      {{.sequence = 0, .tokens = span, .logits = {}}, "expected one piece of it, got two"},
      {{.sequence = 1, .tokens = span, .logits = short_logits}, "logits: expected 132 numbers"},
      {{.sequence = 1, .tokens = span, .logits = {}, .real = short_mask}, "mask: expected 12"}};
  for (const auto& [piece, reason] : bad) {
    const std::vector<Piece> pieces{good, piece};
    const std::string said = refusal([&] { model->append(pieces); });
    BOOST_TEST(says(said, reason), said);
    BOOST_TEST(model->length(0) == 5);
    BOOST_TEST(model->length(1) == 7);
  }
  for (const int64_t sequence : {0, 1}) {
    BOOST_TEST(logits_after(*model, sequence, span) == logits_after(*undisturbed, sequence, span),
               boost::test_tools::per_element());
  }
}

// Whichever append of whichever step is refused, no sequence has moved and none has lost a row,
// also of those whose oldest rows had been overwritten by then.
BOOST_AUTO_TEST_CASE(a_refused_append_changes_no_sequence) {
  ModelConfig mixed = windowed("1", 4, 2);
  mixed.full_layers = {1};
  for (const ModelConfig& config : {windowed("1", 4, 2), windowed("5.1E", 5), mixed}) {
    BOOST_TEST_INFO_SCOPE(title(config));
    const StreamOptions plain{
        .batch = 3, .capacity = config.full_layers.empty() ? 6 : 40, .chunk = 3};
    const auto undisturbed = made(config, plain);
    const auto tokens = tokens_of(config, 12);
    const auto span = std::span(tokens);
    const std::vector<Piece> before{{.sequence = 0, .tokens = span.first(11), .logits = {}},
                                    {.sequence = 1, .tokens = span.first(2), .logits = {}}};
    const std::vector<Piece> pieces{{.sequence = 1, .tokens = span.last(7), .logits = {}},
                                    {.sequence = 0, .tokens = span.first(10), .logits = {}},
                                    {.sequence = 2, .tokens = span.first(2), .logits = {}}};
    undisturbed->append(before);
    std::vector<std::vector<double>> expected;
    for (const int64_t sequence : {0, 1, 2}) {
      expected.push_back(logits_after(*undisturbed, sequence, span));
    }
    for (int64_t refused = 1; refused <= 8; ++refused) {
      int64_t left = 0;
      StreamOptions options = plain;
      options.cache = systems_test::refusing_caches(left);
      const auto model = made(config, options);
      model->append(before);
      left = refused;
      BOOST_CHECK_THROW(model->append(pieces), std::bad_alloc);
      for (const int64_t sequence : {0, 1, 2}) {
        BOOST_TEST(
            logits_after(*model, sequence, span) == expected[static_cast<std::size_t>(sequence)],
            boost::test_tools::per_element());
      }
    }
  }
}

// Layers with a window keep a window, beside those that keep everything.
BOOST_AUTO_TEST_CASE(a_layer_with_a_window_has_a_ring_of_its_own) {
  const auto kept = [](const std::string& method, int64_t full_layer) {
    ModelConfig config = windowed(method, 4, 2);
    config.full_layers = {full_layer};
    const auto model = made(config, {.capacity = 40, .chunk = 8});
    int64_t windowed_numbers = 0;
    for (const KeptTensor& tensor : model->kept()) {
      windowed_numbers += tensor.windowed ? tensor.heads * tensor.width : 0;
    }
    // 4 positions and 2 sinks of what is windowed, 40 of the rest and of what is padding.
    const int64_t numbers = kept_heads_times_width(*model);
    BOOST_TEST(model->statistics(0).bytes ==
               8 * (6 * windowed_numbers + 40 * (numbers - windowed_numbers)) + 40);
    return windowed_numbers / 12.0;  // in units of a K or a V
  };
  BOOST_TEST(kept("plain", 1) == 4);    // K and V of layers 0 and 2
  BOOST_TEST(kept("1", 0) == 4 + 1);    // layer 1's values run again on layer 2, not layer 0's
  BOOST_TEST(kept("5.1", 0) == 2 + 2);  // nothing of layer 0; its scores are no concern of K_1, K_2
  BOOST_TEST(kept("5.1", 2) == 2);      // keys of layers 0 and 1 are read by layer 2's mask too
}

BOOST_AUTO_TEST_CASE(a_sequence_ends_with_its_cache_or_its_parameters) {
  const auto fill = [](const ModelConfig& config, const StreamOptions& options, int64_t fits) {
    const auto model = made(config, options);
    BOOST_TEST(model->most_positions() == fits);
    const auto tokens = tokens_of(config, fits + 1);
    model->append(0, std::span(tokens).first(static_cast<std::size_t>(fits)), {});
    std::string said = refusal([&] { model->append(0, std::span(tokens).last(1), {}); });
    BOOST_TEST(model->length(0) == fits);
    return said;
  };
  const std::string full = fill(ragged_config("1"), {.capacity = 9, .chunk = 4}, 9);
  BOOST_TEST(says(full, "the cache ends: expected at most 9 positions"), full);
  for (const char* method : {"5.1A", "5.1B", "5.1C", "C-base"}) {
    ModelConfig config = windowed(method, 4);
    config.score_positions = 13;
    const std::string said = fill(config, {.chunk = 3}, 13);
    BOOST_TEST(says(said, "expected at most 13 positions (score_positions of method "), said);
  }
  ModelConfig gpt2 = with_gpt2_block(windowed("plain", 4), golden::NormPosition::pre);
  const std::string said = fill(gpt2, {.chunk = 8}, kMostPositions);
  BOOST_TEST(says(said, "max_position_embeddings"), said);
}

BOOST_AUTO_TEST_CASE(an_evicted_position_is_never_readable) {
  const std::vector<KeptTensor> kept{{"k", 1, 1}};
  const auto cache = make_ring_cache(kept, {.capacity = 3, .sinks = 2});
  std::vector<double> numbers(20);
  std::iota(numbers.begin(), numbers.end(), 0.0);
  const std::vector<uint8_t> real(20, 1);
  const auto append = [&](int64_t first, int64_t count) {
    const std::vector<KeptRows> rows{{numbers.data() + first, 0}};
    cache->append(count, rows, std::span(real).first(static_cast<std::size_t>(count)));
  };
  const auto read = [&](int64_t first, int64_t last) {
    std::vector<double> out(static_cast<std::size_t>(last - first));
    cache->read(0, first, last, out.data(), 0);
    return out;
  };
  append(0, 4);
  BOOST_TEST(read(0, 4) == (std::vector<double>{0, 1, 2, 3}), boost::test_tools::per_element());
  append(4, 3);
  BOOST_TEST(cache->oldest() == 4);
  BOOST_TEST(read(4, 7) == (std::vector<double>{4, 5, 6}), boost::test_tools::per_element());
  BOOST_TEST(read(0, 2) == (std::vector<double>{0, 1}), boost::test_tools::per_element());
  BOOST_TEST(says(refusal([&] { read(3, 5); }), "expected within 4 .. 6 or 0 .. 1"));
  BOOST_TEST(says(refusal([&] { read(6, 8); }), "positions 6 .. 7 are not held"));
  BOOST_TEST(says(refusal([&] { read(1, 3); }), "are not held"));
  append(7, 13);  // more than there are slots
  BOOST_TEST(read(17, 20) == (std::vector<double>{17, 18, 19}), boost::test_tools::per_element());
  BOOST_TEST(cache->evictions() == 15);
  cache->reset();
  BOOST_TEST(says(refusal([&] { read(0, 1); }), "are not held"));
}

// Positions are absolute: a cut stream is not a stream from 0.
BOOST_AUTO_TEST_CASE(a_far_position_is_not_the_first) {
  const ModelConfig config = windowed("plain", 1);  // a query sees itself alone
  const auto model = made(config, {.chunk = 4});
  const std::vector<int32_t> same(9, 4);
  const std::vector<double> logits = logits_after(*model, 0, same);
  // Its own key turned by its own angle: S is the same at every position, so are logits.
  for (std::size_t i = 11; i < logits.size(); ++i) {
    BOOST_TEST(logits[i] == logits[i % 11], boost::test_tools::tolerance(1e-12));
  }
  const auto by_position = with_gpt2_block(config, golden::NormPosition::pre);
  const auto learned = made(by_position, {.chunk = 4});
  const std::vector<double> other = logits_after(*learned, 0, same);
  BOOST_TEST(other[0] != other[11]);
}

// Sequence 1 begins like sequence 0 and goes on by itself, whatever stood there before.
BOOST_AUTO_TEST_CASE(a_shared_beginning_is_as_good_as_read) {
  for (const ModelConfig& config : streamed_configs()) {
    BOOST_TEST_INFO_SCOPE(title(config));
    const auto model = made(config, {.batch = 3, .capacity = 16, .chunk = 5});
    const auto tokens = tokens_of(config, 14), others = tokens_of(config, 5, 10);
    const auto most = static_cast<std::size_t>(std::min<int64_t>(14, model->most_positions()));
    logits_after(*model, 0, std::span(tokens).first(most - 1));
    logits_after(*model, 1, others);
    BOOST_TEST(model->share(0, 1, static_cast<int64_t>(most) - 3));
    const auto rest = std::span(tokens).first(most).last(3);
    logits_after(*model, 2, std::span(tokens).first(most - 3));
    const auto expected = logits_after(*model, 2, rest), got = logits_after(*model, 1, rest);
    BOOST_TEST(got == expected, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_shared_is_refused) {
  const ModelConfig config = windowed("plain", 4);
  const auto model = made(config, {.batch = 2, .capacity = 6, .chunk = 3});
  const auto tokens = tokens_of(config, 7);
  model->append(0, std::span(tokens).first(5), {});
  const std::string share = "stream: share: expected 0 .. 5 positions of another sequence, got ";
  BOOST_TEST(says(refusal([&] { model->share(0, 1, 6); }), share + "6 of 0 for 1"));
  BOOST_TEST(says(refusal([&] { model->share(0, 0, 2); }), share + "2 of 0 for 0"));
  BOOST_TEST(says(refusal([&] { model->share(0, 1, -1); }), share + "-1 of 0 for 1"));
  BOOST_TEST(says(refusal([&] { model->share(0, 2, 1); }), "sequence 2: expected 0 .. 1"));
  model->append(0, std::span(tokens).last(2), {});
  BOOST_TEST(!model->share(0, 1, 3));  // position 0 has left
  BOOST_TEST(model->length(1) == 0);
}

// Values that are read through tiers are those of the ring.
BOOST_AUTO_TEST_CASE(streams_over_tiers_are_streams) {
  for (const ModelConfig& config :
       {windowed("plain", 6, 2), windowed("1", 5), windowed("5.1E", 7)}) {
    BOOST_TEST_INFO_SCOPE(title(config));
    const auto tokens = tokens_of(config, 40);
    const auto flat = made(config, {.capacity = 16, .chunk = 3});
    const auto tiered = made(config, {.capacity = 16, .chunk = 3, .cache = tiered_caches(2)});
    BOOST_TEST(logits_after(*tiered, 0, tokens) == logits_after(*flat, 0, tokens),
               boost::test_tools::per_element());
  }
}

}  // namespace assay::reference::testing
