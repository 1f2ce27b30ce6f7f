// The Probabilistic Transformer of the engine against the reference: in double every tap and every
// gradient to 1e-12 of its tensor's largest value, with every option and combinations of them, at
// shapes around the tiles of 32; in fp64, fp32 and bf16 by verify's own bounds.
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "cli/engine/engine_subject.h"
#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/names.h"
#include "golden/file/golden_file.h"
#include "golden/generate/generate.h"
#include "reference/methods/registry.h"
#include "tests/cli/against_reference.h"
#include "tests/reference/prob_transformer/variants.h"
#include "verify/judge/numerics.h"
#include "verify/leakage/detectors.h"
#include "verify/subjects/bindings.h"

namespace {

using namespace assay;
using golden::ModelConfig;
using golden::Precision;
using golden::ProbTransformer;
using reference::testing::pt_all_variants;
using reference::testing::pt_config;

struct Case {
  std::string title;
  ModelConfig config;
  int64_t batch = 1, positions = 1;
  int64_t left_padding = 0;   // of the last row
  int64_t right_padding = 0;  // of the first row
  bool hole = false;          // a word in the middle of the last row is padding

  std::string text() const {
    return title + " [" + std::to_string(batch) + "," + std::to_string(positions) + "]";
  }
};

verify::Batch batch_of(const Case& c) {
  verify::Batch batch;
  batch.batch = c.batch;
  batch.positions = c.positions;
  batch.tokens = golden::synthetic_tokens(c.config.vocab_size, c.batch, c.positions, 5);
  batch.labels = batch.tokens;
  batch.attention_mask.assign(batch.tokens.size(), 1);
  const auto pad = [&](int64_t i) {
    batch.attention_mask[static_cast<std::size_t>(i)] = 0;
    batch.labels[static_cast<std::size_t>(i)] = -100;
  };
  const int64_t last_row = (c.batch - 1) * c.positions;
  for (int64_t t = 0; t < c.left_padding; ++t) pad(last_row + t);
  for (int64_t t = 0; t < c.right_padding; ++t) pad(c.positions - 1 - t);
  if (c.hole) pad(last_row + c.positions / 2);
  return batch;
}

ModelConfig with_positions(ModelConfig config, int64_t positions) {
  config.max_position_embeddings = std::max(config.max_position_embeddings, positions);
  return config;
}

// Every option in one tile and in two, with padding of every kind.
std::vector<Case> every_variant() {
  std::vector<Case> list;
  for (const auto& [title, config] : pt_all_variants()) {
    list.push_back({title, with_positions(config, 9), 2, 9, 2, 1, true});
    list.push_back({title, with_positions(config, 34), 2, 34, 4, 3, true});
  }
  return list;
}

// Shapes around a tile, and distances that reach further than one.
std::vector<Case> shapes() {
  const std::vector<int64_t> far{2, 5, 31, 34, 60};
  const ModelConfig plain = pt_config(), distant = pt_config({.distances = far});
  const ModelConfig causal = pt_config({.message = ProbTransformer::Message::symmetric,
                                        .distances = far,
                                        .causal_heads = true,
                                        .output = ProbTransformer::Output::causal});
  const ModelConfig wide = pt_config({.rank = 70, .channels = 2, .iterations = 2});
  const ModelConfig many = pt_config({.iterations = 5,
                                      .head_step = 0.4,
                                      .label_step = 0.9,
                                      .head_damping = 0.6,
                                      .label_damping = 0.2});
  std::vector<Case> list;
  for (const int64_t T : {1, 2, 31, 32, 33, 70}) {
    list.push_back({"defaults", with_positions(plain, T), 1, T});
    list.push_back({"far", with_positions(distant, T), 1, T});
    list.push_back({"far, causal", with_positions(causal, T), 1, T});
  }
  list.push_back({"only padding", with_positions(plain, 5), 2, 5, 5});
  list.push_back({"rank 70", with_positions(wide, 33), 3, 33, 33});
  list.push_back({"five rounds of steps and damping", with_positions(many, 40), 2, 40, 7, 2});
  return list;
}

std::vector<Case> all_cases() {
  std::vector<Case> all = every_variant();
  for (Case& c : shapes()) all.push_back(std::move(c));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(in_double_every_tap_equals_the_reference_to_1e_minus_12) {
  double worst = 0;
  for (const Case& c : all_cases()) {
    const golden::SyntheticWeights weights(c.config, 7);
    const verify::Batch batch = batch_of(c);
    engine_test::Keep keep;
    reference::evaluate(*reference::build_model(c.config, c.batch, c.positions),
                        verify::bind(batch, weights), keep);
    cli::EngineSubject engine("simt", cuda::make_host_model(c.config, Precision::fp64, weights));
    std::size_t seen = 0;
    engine.run(batch, {}, [&](const verify::Observed& tap) {
      ++seen;
      BOOST_REQUIRE_MESSAGE(keep.values.contains(tap.name), tap.name);
      const reference::Array& expected = keep.values[tap.name];
      BOOST_REQUIRE_MESSAGE(tap.tensor.shape == expected.shape(), tap.name);
      const double difference = engine_test::relative_difference(tap.tensor, expected);
      BOOST_TEST(difference <= 1e-12, c.text() << " " << tap.name << ": " << difference);
      worst = std::max(worst, difference);
    });
    BOOST_TEST(seen == golden::tensor_list(c.config, c.batch, c.positions).size());
  }
  BOOST_TEST_MESSAGE("largest relative difference " << worst);
}

BOOST_AUTO_TEST_CASE(in_double_every_gradient_equals_the_reference_to_1e_minus_12) {
  double worst = 0;
  for (const Case& c : all_cases()) {
    const golden::SyntheticWeights weights(c.config, 7);
    const verify::Batch batch = batch_of(c);
    engine_test::Keep forward;
    engine_test::KeepGradients keep;
    const auto graph = reference::build_model(c.config, c.batch, c.positions);
    reference::evaluate_with_gradient(*graph, verify::bind(batch, weights), graph->find("loss"),
                                      forward, keep);
    const auto model = cuda::make_host_model(c.config, Precision::fp64, weights);
    std::size_t seen = 0;
    const auto compare = [&](const std::string& name, const golden::TensorView& gradient) {
      ++seen;
      BOOST_REQUIRE_MESSAGE(keep.values.contains(name), name);
      const reference::Array& expected = keep.values[name];
      BOOST_REQUIRE_MESSAGE(gradient.shape == expected.shape(), name);
      const golden::Tensor got{gradient.shape, {gradient.values.begin(), gradient.values.end()}};
      const double difference = engine_test::relative_difference(got, expected);
      BOOST_TEST(difference <= 1e-12, c.text() << " " << name << ": " << difference);
      worst = std::max(worst, difference);
    };
    for (int pass = 0; pass < 2; ++pass) {  // a pass leaves nothing behind for the next one
      const double loss = model->gradients(
          {batch.batch, batch.positions, batch.tokens, batch.attention_mask, batch.labels},
          compare);
      BOOST_TEST(std::fabs(loss - forward.values["loss"].data()[0]) <= 1e-12 * loss);
    }
    BOOST_TEST(seen == 2 * golden::weight_list(c.config).size());
  }
  BOOST_TEST_MESSAGE("largest relative difference of a gradient " << worst);
}

BOOST_AUTO_TEST_CASE(fp32_and_bf16_pass_verification_free_running_and_forced) {
  std::vector<Case> cases = every_variant();
  std::erase_if(cases, [](const Case& c) { return c.positions != 34; });
  for (const Case& c : cases) {
    const std::string path =
        std::filesystem::temp_directory_path() / ("assay-pt-" + std::to_string(getpid()) + ".h5");
    const verify::Batch batch = batch_of(c);
    golden::GenerateRequest request;
    request.config = c.config;
    request.batch = c.batch;
    request.positions = c.positions;
    request.tokens = batch.tokens;
    request.labels = batch.labels;
    request.attention_mask = batch.attention_mask;
    request.out = path;
    request.force = true;
    golden::generate(request);
    const golden::GoldenReader golden(path);
    for (const Precision precision : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      cli::EngineSubject engine("simt", cuda::make_host_model(c.config, precision, golden));
      const verify::NumericsResult result = verify::verify_numerics(golden, engine, {});
      for (const verify::Check& check : result.checks) {
        BOOST_TEST((check.status == verify::Status::pass),
                   c.text() << " " << golden::precision_name(precision) << ": " << check.name
                            << ": " << check.summary);
      }
      for (const std::string& line : result.first_divergence) BOOST_TEST_MESSAGE(line);
    }
    std::filesystem::remove(path);
  }
}

BOOST_AUTO_TEST_CASE(causal_heads_do_not_see_the_future_in_any_precision) {
  int checked = 0;
  for (Case c : every_variant()) {
    const ProbTransformer& pt = c.config.pt;
    if (!pt.causal_heads || c.positions != 34) continue;
    c.left_padding = c.right_padding = 0;
    c.hole = false;
    ++checked;
    const golden::SyntheticWeights weights(c.config, 7);
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      const auto make = [&](const cuda::ModelOptions& options) -> std::shared_ptr<cuda::Model> {
        return cuda::make_host_model(c.config, precision, weights, options);
      };
      cli::EngineSubject engine("simt", make({}), {}, make);
      const auto result =
          verify::detect_leaks(engine, c.config, batch_of(c), {.seed = 1, .suffixes = 1});
      for (const verify::Check& check : result.checks) {
        BOOST_TEST((check.status == verify::Status::pass),
                   c.text() << ": " << check.name << ": " << check.summary);
      }
    }
  }
  BOOST_TEST(checked == 3);
}
