// The engine on the host executor: taps, forced inputs, reuse of its memory, and what it refuses.
// That its numbers are right is checked against the reference, by verify.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "cuda_impl/engine/memory/rope_table.h"
#include "cuda_impl/engine/transformer.h"
#include "models.h"
#include "recorder.h"

using namespace assay;
using namespace assay::engine_test;
using golden::ModelConfig;
using golden::Precision;

namespace {

golden::Tensor zeros(const Recorder& like, const std::string& name) {
  const golden::Tensor& tensor = like.seen.at(name);
  return {tensor.shape, std::vector<double>(tensor.values.size(), 0.0)};
}

void check_all(const std::vector<double>& values, double expected) {
  BOOST_TEST(std::ranges::count(values, expected) == static_cast<int64_t>(values.size()));
}

}  // namespace

BOOST_AUTO_TEST_CASE(taps_are_the_list_of_tensors_in_order) {
  const Tokens tokens(2, 7);
  for (const ModelConfig& config : sampled(models())) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    for (const Precision precision : kPrecisions) {
      const Recorder r = record(*make(config, precision), tokens);
      const auto list = golden::tensor_list(config, 2, 7);
      BOOST_REQUIRE_EQUAL(r.order.size(), list.size());
      for (std::size_t i = 0; i < list.size(); ++i) {
        BOOST_TEST(r.order[i] == list[i].name);
        BOOST_TEST((r.seen.at(list[i].name).shape == list[i].shape), list[i].name);
        const bool scores = list[i].name.ends_with("scores");  // -inf where hidden
        for (const double x : r[list[i].name]) {
          BOOST_REQUIRE_MESSAGE(std::isfinite(x) || (scores && x < 0), list[i].name);
        }
      }
    }
  }
}

// A tensor named in a bf16 model is a bf16 value; scores, probabilities and the loss are not
// rounded.
BOOST_AUTO_TEST_CASE(storage_is_what_the_schedule_says) {
  for (const Precision precision : {Precision::bf16, Precision::fp16}) {
    for (const ModelConfig& config : sampled(models())) {
      BOOST_TEST_INFO_SCOPE(text_of(config));
      const auto model = make(config, precision);
      const Recorder r = record(*model, Tokens(2, 7));
      const golden::PrecisionSchedule schedule = model->precision();
      BOOST_TEST((schedule.storage == precision));
      BOOST_TEST((schedule.accumulate == Precision::fp32));
      for (const std::string& name : r.order) {
        for (const double x : r[name]) {
          BOOST_REQUIRE_EQUAL(golden::round_to(schedule.storage_of(name), x), x);
        }
      }
    }
  }
}

// No earlier layer: nothing to recompute, and one score to sum. Methods 5.4 to D-base have
// parameters in the first layer too.
BOOST_AUTO_TEST_CASE(one_layer_of_a_method_equals_plain) {
  const Tokens tokens(2, 7);
  for (const char* method :
       {"1", "1-plan-a", "1-plan-b", "2", "3.1", "3.2", "4.1", "4.2", "5.1", "5.2", "5.3"}) {
    for (const Precision precision : kPrecisions) {
      const Recorder plain = record(*make(tiny("plain", 1), precision), tokens);
      BOOST_TEST(same(record(*make(tiny(method, 1), precision), tokens), plain), method);
    }
  }
}

BOOST_AUTO_TEST_CASE(methods_differ_from_the_second_layer_on) {
  const Tokens tokens(2, 7);
  const Recorder plain = record(*make(tiny("plain"), Precision::fp64), tokens);
  const Recorder again = record(*make(tiny("1"), Precision::fp64), tokens);
  const Recorder summed = record(*make(tiny("5.1"), Precision::fp64), tokens);
  BOOST_TEST(again["layers/0/output"] == plain["layers/0/output"]);
  BOOST_TEST(again["layers/1/mlp/out"] == plain["layers/1/mlp/out"]);
  BOOST_TEST(again["layers/1/output"] != plain["layers/1/output"]);
  BOOST_TEST(summed["layers/0/output"] == plain["layers/0/output"]);
  BOOST_TEST(summed["layers/1/attn/q"] == plain["layers/1/attn/q"]);
  BOOST_TEST(summed["layers/1/attn/scores"] != plain["layers/1/attn/scores"]);
}

// Everything a pass leaves behind is overwritten by the next one, whatever shapes come between.
BOOST_AUTO_TEST_CASE(passes_carry_nothing_over_and_do_not_allocate) {
  const Tokens large(2, 9), small(1, 3), wide(3, 5);
  for (const ModelConfig& config : sampled(models())) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    cuda::Transformer<float> model(config, Precision::fp32, golden::SyntheticWeights(config, 7));
    BOOST_TEST(model.allocations() == 0);
    model.forward(large.view(), nullptr);
    BOOST_TEST(model.allocations() == 1);  // no [T,T] array without a probe
    const Recorder first = record(model, large);
    const Recorder first_small = record(model, small);
    const Recorder first_wide = record(model, wide);
    const int64_t allocations = model.allocations();
    BOOST_TEST(allocations == 2);
    for (int pass = 0; pass < 2; ++pass) {
      BOOST_TEST(same(record(model, large), first));
      BOOST_TEST(same(record(model, wide), first_wide));
      model.forward(large.view(), nullptr);
      BOOST_TEST(same(record(model, small), first_small));
    }
    BOOST_TEST(model.allocations() == allocations);
    BOOST_TEST(same(record(*make(config, Precision::fp32), small), first_small));
  }
}

BOOST_AUTO_TEST_CASE(forcing_what_is_there_changes_nothing) {
  const Tokens tokens(2, 7);
  for (const ModelConfig& config : sampled(models())) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    for (const Precision precision : kPrecisions) {
      const auto model = make(config, precision);
      const Recorder free = record(*model, tokens);
      BOOST_TEST(same(record(*model, tokens, free.seen), free));
    }
  }
}

// Zeros in place of one tensor, and what must follow from it by the equations.
BOOST_AUTO_TEST_CASE(later_tensors_read_a_forced_one) {
  const Tokens tokens(2, 7);
  const auto model = make(tiny("1"), Precision::fp32);
  const Recorder free = record(*model, tokens);
  const auto without = [&](const std::string& name) {
    Recorder r = record(*model, tokens, {{name, zeros(free, name)}});
    BOOST_TEST(r[name] == free[name]);  // the tap comes first: it shows what was computed
    return r;
  };
  check_all(without("layers/1/attn/v")["layers/1/attn/context"], 0.0);
  check_all(without("layers/1/attn/context")["layers/1/attn/out"], 0.0);
  BOOST_TEST(without("layers/1/attn/out")["layers/1/attn_residual"] == free["layers/1/input"]);
  check_all(without("layers/2/mlp/gate")["layers/2/mlp/act"], 0.0);
  check_all(without("layers/2/recompute/1/v")["layers/2/recompute/1/context"], 0.0);
  check_all(without("layers/2/recompute/1/mlp_act")["layers/2/recompute/1/mlp_out"], 0.0);
  BOOST_TEST(without("layers/2/recompute/1/mlp_out")["layers/2/mlp/sum"] ==
             free["layers/2/recompute/0/mlp_out"]);
  check_all(without("final_norm")["logits"], 0.0);
  BOOST_TEST(without("logits")["loss"][0] == std::log(11.0), boost::test_tools::tolerance(1e-6));
  // Equal scores: row t spreads over its t+1 keys.
  const std::vector<double> probs = without("layers/0/attn/q")["layers/0/attn/probs"];
  for (int t = 0; t < 7; ++t) {
    BOOST_TEST(probs[static_cast<std::size_t>(t * 7)] == 1.0 / (t + 1),
               boost::test_tools::tolerance(1e-6));
  }
  // The replay rebuilds layer 0's probabilities from its q: forced there, seen in layer 2.
  BOOST_TEST(without("layers/0/attn/q")["layers/2/recompute/0/context"] !=
             free["layers/2/recompute/0/context"]);
}

// A double just above the middle of two bf16 values rounds up; by way of float it would tie and
// round down.
BOOST_AUTO_TEST_CASE(forced_values_round_once) {
  const Tokens tokens(1, 2);
  const auto model = make(tiny("plain"), Precision::bf16);
  golden::Tensor embed{{1, 2, 16}, std::vector<double>(32, 1 + 0x1p-8 + 0x1p-40)};
  const Recorder r = record(*model, tokens, {{"embed", embed}});
  check_all(r["layers/0/input"], 1 + 0x1p-7);
}

BOOST_AUTO_TEST_CASE(residual_replace_drops_the_block_s_own_residual) {
  ModelConfig config = tiny("1");
  config.residual = golden::Residual::replace;
  const Recorder r = record(*make(config, Precision::fp64), Tokens(2, 7));
  for (std::size_t i = 0; i < r["embed"].size(); ++i) {
    BOOST_TEST(r["layers/0/output"][i] ==
               r["layers/0/attn_residual"][i] + r["layers/0/mlp/out"][i]);
    BOOST_TEST(r["layers/2/output"][i] == r["layers/2/mlp/out"][i] + r["layers/2/mlp/sum"][i]);
  }
}

// Neither the future nor padding reaches a real position, bit for bit.
BOOST_AUTO_TEST_CASE(hidden_tokens_do_not_matter) {
  constexpr int64_t kT = 40, kPadding = 5, kChanged = 33, kV = 11;
  Tokens tokens(1, kT);
  for (int64_t t = 0; t < kPadding; ++t) tokens.mask[static_cast<std::size_t>(t)] = 0;
  Tokens other = tokens;
  for (int64_t t = 0; t < kT; ++t) {
    const auto i = static_cast<std::size_t>(t);
    if (t < kPadding || t >= kChanged) other.tokens[i] = (tokens.tokens[i] + 1) % kV;
  }
  for (const ModelConfig& config : sampled(models())) {
    BOOST_TEST_INFO_SCOPE(text_of(config));
    const auto model = make(config, Precision::fp32);
    const Recorder a = record(*model, tokens), b = record(*model, other);
    int differing = 0;
    for (std::size_t i = 0; i < kT * kV; ++i) {
      const auto t = static_cast<int64_t>(i) / kV;
      if (t >= kPadding && t < kChanged) BOOST_REQUIRE_EQUAL(a["logits"][i], b["logits"][i]);
      differing += a["logits"][i] != b["logits"][i];
    }
    BOOST_TEST(differing > 0);
    // A row without a visible key: probabilities 0.
    for (std::size_t i = 0; i < kPadding * kT; ++i) {
      BOOST_REQUIRE_EQUAL(a["layers/1/attn/probs"][i], 0.0);
    }
  }
}

// Of one layer: with a token at most `window` - 1 positions back a row of logits changes, unless
// the token is a sink, which all see.
BOOST_AUTO_TEST_CASE(a_token_reaches_as_far_as_the_window) {
  constexpr int64_t kT = 40, kWindow = 6;
  const auto v = static_cast<int32_t>(11);
  for (const ModelConfig& windowed : sampled(windowed_models())) {
    ModelConfig config = windowed;
    config.num_hidden_layers = 1;
    config.window = kWindow;
    config.full_layers.clear();
    BOOST_TEST_INFO_SCOPE(text_of(config));
    for (const Precision precision : kPrecisions) {
      const auto model = make(config, precision);
      const Tokens tokens(1, kT);
      const Recorder before = record(*model, tokens);
      for (const int64_t changed : {0, 1, 2, 20}) {
        Tokens other = tokens;
        int32_t& token = other.tokens[static_cast<std::size_t>(changed)];
        token = (token + 1) % v;
        const Recorder after = record(*model, other);
        for (int64_t t = 0; t < kT; ++t) {
          const auto row = static_cast<std::ptrdiff_t>(t * v);
          const bool differs =
              !std::equal(before["logits"].begin() + row, before["logits"].begin() + row + v,
                          after["logits"].begin() + row);
          const bool expected =
              t >= changed && (t - changed < kWindow || changed < config.sink_tokens);
          BOOST_REQUIRE_EQUAL(differs, expected);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(tied_head_is_the_embedding) {
  ModelConfig config = tiny("plain");
  config.tie_word_embeddings = true;
  const Tokens tokens(1, 3);
  const auto model = make(config, Precision::fp64);
  golden::Tensor unit{{1, 3, 16}, std::vector<double>(48, 0.0)};
  unit.values[4] = 1.0;  // logits of position 0 are then column 4 of the embedding
  const Recorder r = record(*model, tokens, {{"final_norm", unit}});
  std::vector<double> embed(11 * 16);
  golden::SyntheticWeights(config, 7).read("model.embed_tokens.weight", embed);
  for (std::size_t v = 0; v < 11; ++v) BOOST_TEST(r["logits"][v] == embed[v * 16 + 4]);
}

BOOST_AUTO_TEST_CASE(rope_scaling_of_llama3_stretches_long_wavelengths) {
  ModelConfig config = tiny("plain");
  config.head_dim = 64;
  config.rope_theta = 500000.0;
  const std::vector<double> plain = cuda::rope_frequencies(config);
  config.rope_scaling = golden::RopeScaling{};
  const std::vector<double> scaled = cuda::rope_frequencies(config);
  BOOST_TEST(plain[0] == 1.0);
  BOOST_TEST(scaled[0] == plain[0]);          // wavelength 6.3, far below 8192/4
  BOOST_TEST(scaled[31] == plain[31] / 8.0);  // wavelength 2.1e6, above 8192
  BOOST_TEST(scaled[16] < plain[16]);         // wavelength 4443, between
  BOOST_TEST(scaled[16] > plain[16] / 8.0);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused_by_name) {
  const auto model = make(tiny("plain"), Precision::fp32);
  const auto forward = [&](const Tokens& tokens) { model->forward(tokens.view(), nullptr); };
  Tokens bad(2, 3);
  bad.tokens[4] = 11;
  check_refused([&] { forward(bad); }, "batch: tokens at (b1,t1): expected 0 .. 10, got 11");
  bad = Tokens(2, 3);
  bad.labels[5] = -1;
  check_refused([&] { forward(bad); },
                "batch: labels at (b1,t2): expected 0 .. 10 or -100, got -1");
  bad = Tokens(2, 3);
  bad.mask[0] = 2;
  check_refused([&] { forward(bad); }, "batch: attention_mask at (b0,t0): expected 0 or 1, got 2");
  bad = Tokens(2, 3);
  bad.labels.pop_back();
  check_refused([&] { forward(bad); }, "batch: labels: expected 6 values ([B,T] = [2,3]), got 5");
  check_refused([&] { forward(Tokens(1, 65)); },
                "batch: T: expected at most max_position_embeddings = 64, got 65");
  check_refused([&] { model->forward({}, nullptr); },
                "batch: expected [B,T] of at least [1,1], got [0,0]");

  ModelConfig config = tiny("plain");
  config.head_dim = 130;
  check_refused([&] { make(config, Precision::fp32); },
                "model: head_dim: the kernels hold at most 128, got 130");
  config = tiny("5.1D", 65);
  check_refused([&] { make(config, Precision::fp32); },
                "model: num_hidden_layers: the kernels hold at most 64, got 65");
}

// Without a GPU the device model says why, and both back ends link into one program.
BOOST_AUTO_TEST_CASE(no_gpu_is_an_input_error_with_its_reason) {
  const std::string reason = cuda::device_unavailable();
  if (reason.empty()) return;
  const ModelConfig config = tiny("plain");
  check_refused(
      [&] {
        cuda::make_device_model(config, Precision::fp32, golden::SyntheticWeights(config, 7));
      },
      "subject cuda: no GPU: " + reason + "; use the host executor (simt)");
}
