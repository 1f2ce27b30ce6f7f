// The logic lane: our kernels instantiated in double agree with the reference to 1e-12 of each
// tensor's largest value, on every tap of every method. A logic error cannot hide behind rounding
// there. The same engine in fp32 and bf16 passes verification (every method: suite_verify_ci_*).
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>

#include "cli/engine/engine_subject.h"
#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/methods.h"
#include "golden/contract/names.h"
#include "golden/file/golden_file.h"
#include "golden/generate/generate.h"
#include "reference/methods/registry.h"
#include "tests/cli/against_reference.h"
#include "verify/judge/numerics.h"
#include "verify/leakage/detectors.h"
#include "verify/subjects/bindings.h"

namespace {

using namespace assay;
using engine_test::Keep;
using engine_test::KeepGradients;
using engine_test::relative_difference;
using golden::ModelConfig;
using golden::Precision;

// qwen2: the Llama block with biases of q, k and v; qwen3: with norms of q and k, and all biases.
enum class Block { llama, gpt2_pre, gpt2_post, qwen2, qwen3 };

struct Case {
  std::string method;
  std::string form = "";
  Block block = Block::llama;
  golden::Residual residual = golden::Residual::keep;
  int64_t batch = 1;
  int64_t positions = 1;
  int64_t kv_heads = 2;
  int64_t left_padding = 0;   // of the last row
  int64_t right_padding = 0;  // of the first row
  bool tied = false;
  bool scaled_rope = false;
  bool detach = false;  // no gradient through stored probabilities
  int64_t window = 0, sinks = 0;
  std::vector<int64_t> full_layers = {};
  int64_t window_min = 0;  // of a dynamic window; 0: it is fixed
};

ModelConfig config_of(const Case& c) {
  const bool llama = c.block != Block::gpt2_pre && c.block != Block::gpt2_post;
  ModelConfig config =
      golden::preset("tiny", llama ? golden::BlockKind::llama : golden::BlockKind::gpt2);
  if (c.block == Block::gpt2_post) {
    config.norm = golden::NormPosition::post;
    config.activation = golden::Activation::gelu;
  }
  config.method = c.method;
  config.form = c.form;
  config.detach_stored = c.detach;
  if (c.block == Block::qwen2) config.attention_bias = golden::AttentionBias::qkv;
  if (c.block == Block::qwen3) config.attention_bias = golden::AttentionBias::all;
  config.qk_norm = c.block == Block::qwen3;
  config.window = c.window;
  config.full_layers = c.full_layers;
  config.sink_tokens = c.sinks;
  if (c.window_min > 0) {
    config.window_kind = golden::WindowKind::dynamic;
    config.window_min = c.window_min;
  }
  config.max_position_embeddings = 128;  // the extent of what 5.1A learns
  config.residual = c.residual;
  config.num_key_value_heads = c.kv_heads;
  if (llama) config.tie_word_embeddings = c.tied;
  if (c.scaled_rope) {
    config.rope_scaling = {.factor = 4,
                           .low_freq_factor = 1,
                           .high_freq_factor = 4,
                           .original_max_position_embeddings = 16};
  }
  return config;
}

verify::Batch batch_of(const Case& c, const ModelConfig& config) {
  verify::Batch batch;
  batch.batch = c.batch;
  batch.positions = c.positions;
  batch.tokens = golden::synthetic_tokens(config.vocab_size, c.batch, c.positions, 5);
  batch.labels = batch.tokens;
  batch.attention_mask.assign(batch.tokens.size(), 1);
  const auto pad = [&](int64_t i) {
    batch.attention_mask[static_cast<std::size_t>(i)] = 0;
    batch.labels[static_cast<std::size_t>(i)] = -100;
  };
  for (int64_t t = 0; t < c.left_padding; ++t) pad((c.batch - 1) * c.positions + t);
  for (int64_t t = 0; t < c.right_padding; ++t) pad(c.positions - 1 - t);
  return batch;
}

// Every method of the blocks, in every form and with both residuals, on every one of them.
std::vector<Case> every_method() {
  std::vector<Case> list;
  for (const golden::MethodInfo& method : golden::methods()) {
    if (method.family == golden::Family::prob_transformer) continue;  // a test of its own
    for (const Block block : {Block::llama, Block::gpt2_pre, Block::gpt2_post, Block::qwen3}) {
      Case c{.method = method.id,
             .block = block,
             .batch = 2,
             .positions = 34,
             .left_padding = 4,
             .right_padding = 3};
      list.push_back(c);
      if (block == Block::qwen3) continue;  // its options touch neither form nor residual
      for (std::size_t form = 1; form < method.forms.size(); ++form) {
        c.form = method.forms[form];
        list.push_back(c);
      }
      if (!method.takes("residual")) continue;
      c.residual = golden::Residual::replace;
      list.push_back(c);
    }
  }
  return list;
}

// Shapes around the tiles of 32, head layouts, padding, a tied head, stretched rotations.
std::vector<Case> cases() {
  std::vector<Case> list;
  for (const std::string method : {"plain", "1", "5.1"}) {
    list.push_back({.method = method, .positions = 1});
    list.push_back({.method = method, .positions = 33});
    list.push_back({.method = method, .positions = 70, .kv_heads = 1, .tied = true});
    list.push_back({.method = method,
                    .batch = 3,
                    .positions = 37,
                    .kv_heads = 4,
                    .left_padding = 5,
                    .right_padding = 3,
                    .scaled_rope = true});
  }
  for (const std::string method : {"plain", "1", "2", "4.2", "5.1", "5.1E"}) {
    Case c{.method = method, .batch = 2, .positions = 37, .left_padding = 5, .window = 4};
    list.push_back(c);
    c.block = Block::gpt2_pre;
    c.sinks = 2;
    list.push_back(c);
    c.block = Block::qwen2;
    for (const std::vector<int64_t>& full : {std::vector<int64_t>{1}, {0, 2}}) {
      c.full_layers = full;
      list.push_back(c);
    }
    list.push_back({.method = method,
                    .batch = 2,
                    .positions = 37,
                    .left_padding = 5,
                    .right_padding = 3,
                    .window = 12,
                    .window_min = 2});
    list.push_back({.method = method,
                    .block = Block::gpt2_post,
                    .batch = 2,
                    .positions = 70,
                    .window = 40,
                    .sinks = 1,
                    .full_layers = {1},
                    .window_min = 1});
  }
  return list;
}

// The golden file of a case, as long as it is needed.
struct TemporaryGolden {
  std::string path =
      std::filesystem::temp_directory_path() / ("assay-engine-" + std::to_string(getpid()) + ".h5");

  explicit TemporaryGolden(const Case& c) {
    golden::GenerateRequest request;
    request.config = config_of(c);
    request.batch = c.batch;
    request.positions = c.positions;
    const verify::Batch batch = batch_of(c, request.config);
    request.tokens = batch.tokens;
    request.labels = batch.labels;
    request.attention_mask = batch.attention_mask;
    request.out = path;
    request.force = true;
    golden::generate(request);
  }
  ~TemporaryGolden() { std::filesystem::remove(path); }
};

}  // namespace

BOOST_AUTO_TEST_CASE(in_double_every_tap_equals_the_reference_to_1e_minus_12) {
  double worst = 0;
  std::vector<Case> all = cases();
  for (const Case& c : every_method()) all.push_back(c);
  for (const Case& c : all) {
    const ModelConfig config = config_of(c);
    const golden::SyntheticWeights weights(config, 7);
    const verify::Batch batch = batch_of(c, config);
    Keep keep;
    reference::evaluate(*reference::build_model(config, c.batch, c.positions),
                        verify::bind(batch, weights), keep);
    cli::EngineSubject engine("simt", cuda::make_host_model(config, Precision::fp64, weights));
    std::size_t seen = 0;
    engine.run(batch, {}, [&](const verify::Observed& tap) {
      ++seen;
      BOOST_REQUIRE_MESSAGE(keep.values.contains(tap.name), tap.name);
      const reference::Array& expected = keep.values[tap.name];
      BOOST_REQUIRE_MESSAGE(tap.tensor.shape == expected.shape(), tap.name);
      const double difference = relative_difference(tap.tensor, expected);
      BOOST_TEST(difference <= 1e-12, "method " << c.method << " " << c.form << " block "
                                                << static_cast<int>(c.block) << " [" << c.batch
                                                << "," << c.positions << "] " << tap.name << ": "
                                                << difference);
      worst = std::max(worst, difference);
    });
    BOOST_TEST(seen == keep.values.size());
  }
  BOOST_TEST_MESSAGE("largest relative difference " << worst);
}

// The gradient of the loss by every weight, of methods that learn parameters by those too.
BOOST_AUTO_TEST_CASE(in_double_every_gradient_equals_the_reference_to_1e_minus_12) {
  double worst = 0;
  std::vector<Case> all = every_method();
  for (const Case& c : cases()) all.push_back(c);
  for (const char* method : {"1", "2", "3.2"}) {
    all.push_back({.method = method, .batch = 2, .positions = 9, .detach = true});
  }
  for (const Case& c : all) {
    const ModelConfig config = config_of(c);
    const golden::SyntheticWeights weights(config, 7);
    const verify::Batch batch = batch_of(c, config);
    Keep forward;
    KeepGradients keep;
    const auto graph = reference::build_model(config, c.batch, c.positions);
    reference::evaluate_with_gradient(*graph, verify::bind(batch, weights), graph->find("loss"),
                                      forward, keep);
    const auto model = cuda::make_host_model(config, Precision::fp64, weights);
    std::size_t seen = 0;
    const auto compare = [&](const std::string& name, const golden::TensorView& gradient) {
      ++seen;
      if (!keep.values.contains(name)) {  // not on the way to the loss: plan A's last queries, say
        for (const double value : gradient.values) BOOST_REQUIRE_EQUAL(value, 0.0);
        return;
      }
      const reference::Array& expected = keep.values[name];
      BOOST_REQUIRE_MESSAGE(gradient.shape == expected.shape(), name);
      const golden::Tensor got{gradient.shape, {gradient.values.begin(), gradient.values.end()}};
      if (name.ends_with(".score.c")) {  // 0, which the reference reaches to rounding
        for (const double value : gradient.values) BOOST_REQUIRE_EQUAL(value, 0.0);
        for (int64_t i = 0; i < expected.size(); ++i) {
          BOOST_REQUIRE_SMALL(expected.data()[i], 1e-15);
        }
        return;
      }
      const double difference = relative_difference(got, expected);
      BOOST_TEST(difference <= 1e-12, "method " << c.method << " " << c.form << " block "
                                                << static_cast<int>(c.block) << " [" << c.batch
                                                << "," << c.positions << "] " << name << ": "
                                                << difference);
      worst = std::max(worst, difference);
    };
    for (int pass = 0; pass < 2; ++pass) {  // a pass leaves nothing behind for the next one
      const double loss = model->gradients(
          {batch.batch, batch.positions, batch.tokens, batch.attention_mask, batch.labels},
          compare);
      BOOST_TEST(std::fabs(loss - forward.values["loss"].data()[0]) <= 1e-12 * loss);
    }
    BOOST_TEST(seen == 2 * golden::weight_list(config).size());
  }
  BOOST_TEST_MESSAGE("largest relative difference of a gradient " << worst);
}

BOOST_AUTO_TEST_CASE(fp32_and_bf16_pass_verification_free_running_and_forced) {
  for (const Case& c : cases()) {
    if (c.positions == 1) continue;  // nothing to tell one key from another
    const ModelConfig config = config_of(c);
    const TemporaryGolden file(c);
    const golden::GoldenReader golden(file.path);
    for (const Precision precision : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      cli::EngineSubject engine("simt", cuda::make_host_model(config, precision, golden));
      const verify::NumericsResult result = verify::verify_numerics(golden, engine, {});
      for (const verify::Check& check : result.checks) {
        // In 16 bits another size of a dynamic window is neither right nor wrong.
        const bool open = c.window_min > 0 && precision == Precision::bf16 &&
                          check.status == verify::Status::untrusted;
        BOOST_TEST((check.status == verify::Status::pass || open),
                   "method " << c.method << " [" << c.batch << "," << c.positions << "] "
                             << golden::precision_name(precision) << ": " << check.name << ": "
                             << check.summary);
      }
      for (const std::string& line : result.first_divergence) BOOST_TEST_MESSAGE(line);
      BOOST_TEST_MESSAGE("method " << c.method << " [" << c.batch << "," << c.positions << "] "
                                   << golden::precision_name(precision) << ": largest error "
                                   << result.max_sigmas << " sigma");
    }
  }
}

namespace {

// The verdict on an engine with one window, of the case's golden file, which has another.
int exit_code_with_window(const std::string& path, const Case& c, int64_t window,
                          Precision precision) {
  ModelConfig config = config_of(c);
  config.window = window;
  const golden::GoldenReader golden(path);
  cli::EngineSubject engine("simt", cuda::make_host_model(config, precision, golden));
  return verify::exit_code(verify::verify_numerics(golden, engine, {}).checks);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_window_off_by_one_fails_verification) {
  for (const char* method : {"plain", "1", "5.1"}) {
    const Case c{.method = method, .batch = 2, .positions = 37, .window = 4};
    const TemporaryGolden golden(c);
    for (const Precision precision : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      BOOST_TEST(exit_code_with_window(golden.path, c, 3, precision) == 1);
      BOOST_TEST(exit_code_with_window(golden.path, c, 4, precision) == 0);
      BOOST_TEST(exit_code_with_window(golden.path, c, 5, precision) == 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_engine_does_not_see_the_future_in_any_precision) {
  std::vector<Case> all = every_method();
  all.push_back({.method = "plain", .batch = 2, .window = 2});
  all.push_back({.method = "1", .batch = 2, .window = 2, .sinks = 1});
  for (const char* method : {"plain", "1", "5.1"}) {
    all.push_back({.method = method, .batch = 2, .window = 9, .window_min = 2});
  }
  for (Case c : all) {
    // Two tiles of keys in the methods that the others are variations of, for the time it takes.
    const bool two_tiles = c.method == "plain" || c.method == "1" || c.method == "5.1";
    c.positions = two_tiles && c.block == Block::llama ? 34 : 7;
    c.left_padding = c.right_padding = 0;
    const ModelConfig config = config_of(c);
    const golden::SyntheticWeights weights(config, 7);
    const verify::Batch batch = batch_of(c, config);
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      const auto make = [&](const cuda::ModelOptions& options) -> std::shared_ptr<cuda::Model> {
        return cuda::make_host_model(config, precision, weights, options);
      };
      cli::EngineSubject engine("simt", make({}), {}, make);
      const auto result = verify::detect_leaks(engine, config, batch, {.seed = 1, .suffixes = 1});
      for (const verify::Check& check : result.checks) {
        BOOST_TEST((check.status == verify::Status::pass), "method " << c.method << " " << c.form
                                                                     << ": " << check.name << ": "
                                                                     << check.summary);
      }
    }
  }
}
