// The engine's Probabilistic Transformer on the host executor: taps, forced inputs, reuse of its
// memory, thread orders. That its numbers are right is checked against the reference, by verify.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "cuda_impl/engine/prob_transformer.h"
#include "models.h"
#include "recorder.h"
#include "tests/reference/prob_transformer/variants.h"

using namespace assay;
using namespace assay::engine_test;
using golden::ModelConfig;
using golden::Precision;
using golden::ProbTransformer;
using reference::testing::pt_all_variants;
using reference::testing::pt_config;

namespace {

// The first word of the last row is padding.
Tokens padded_tokens(int64_t batch, int64_t positions) {
  Tokens tokens(batch, positions);
  tokens.labels = tokens.tokens;
  const auto first = static_cast<std::size_t>((batch - 1) * positions);
  tokens.mask[first] = 0;
  tokens.labels[first] = -100;
  return tokens;
}

}  // namespace

BOOST_AUTO_TEST_CASE(taps_are_the_list_of_tensors_in_order_and_stored_as_the_schedule_says) {
  const Tokens tokens = padded_tokens(2, 7);
  for (const auto& [title, config] : pt_all_variants()) {
    BOOST_TEST_INFO_SCOPE(title);
    for (const Precision precision : kPrecisions) {
      const auto model = make(config, precision);
      const Recorder r = record(*model, tokens);
      const auto list = golden::tensor_list(config, 2, 7);
      BOOST_REQUIRE_EQUAL(r.order.size(), list.size());
      for (std::size_t i = 0; i < list.size(); ++i) {
        BOOST_TEST(r.order[i] == list[i].name);
        BOOST_TEST((r.seen.at(list[i].name).shape == list[i].shape), list[i].name);
        const Precision stored = model->precision().storage_of(list[i].name);
        const bool matrix = golden::is_attention_matrix(list[i].name);  // -inf where hidden
        for (const double x : r[list[i].name]) {
          BOOST_REQUIRE_MESSAGE(std::isfinite(x) || (matrix && x < 0), list[i].name);
          BOOST_REQUIRE_EQUAL(golden::round_to(stored, x), x);
        }
      }
    }
  }
}

// Everything a pass leaves behind is overwritten by the next one, whatever shapes come between.
BOOST_AUTO_TEST_CASE(passes_carry_nothing_over_and_do_not_allocate) {
  const Tokens large = padded_tokens(2, 9), small = padded_tokens(1, 3);
  for (const auto& [title, config] : pt_all_variants()) {
    BOOST_TEST_INFO_SCOPE(title);
    cuda::ProbTransformer<float> model(config, Precision::fp32,
                                       golden::SyntheticWeights(config, 7));
    BOOST_TEST(model.allocations() == 0);
    model.forward(large.view(), nullptr);
    BOOST_TEST(model.allocations() == 1);  // no [T,T] array without a probe
    const Recorder first = record(model, large), first_small = record(model, small);
    BOOST_TEST(model.allocations() == 2);
    BOOST_TEST(same(record(model, large), first));
    BOOST_TEST(same(record(model, small), first_small));
    BOOST_TEST(model.allocations() == 2);
    BOOST_TEST(same(record(*make(config, Precision::fp32), small), first_small));
  }
}

BOOST_AUTO_TEST_CASE(forcing_what_is_there_changes_nothing) {
  const Tokens tokens = padded_tokens(2, 7);
  for (const auto& [title, config] : pt_all_variants()) {
    BOOST_TEST_INFO_SCOPE(title);
    const auto model = make(config, Precision::bf16);
    const Recorder free = record(*model, tokens);
    BOOST_TEST(same(record(*model, tokens, free.seen), free));
  }
}

// Zeros in place of one tensor, and what must follow from it by the equations.
BOOST_AUTO_TEST_CASE(later_tensors_read_a_forced_one) {
  const Tokens tokens = padded_tokens(2, 7);
  const auto model = make(pt_config({.message = ProbTransformer::Message::head}), Precision::fp32);
  const Recorder free = record(*model, tokens);
  const auto without = [&](const std::string& name) {
    const golden::Tensor& tensor = free.seen.at(name);
    Recorder r = record(*model, tokens,
                        {{name, {tensor.shape, std::vector<double>(tensor.values.size(), 0.0)}}});
    BOOST_TEST(r[name] == free[name]);  // the tap comes first: it shows what was computed
    return r;
  };
  const auto all_are = [](const std::vector<double>& values, double expected) {
    return std::ranges::count(values, expected) == static_cast<int64_t>(values.size());
  };
  BOOST_TEST(all_are(without("pt/2/k")["pt/2/message/0"], 0.0));
  BOOST_TEST(all_are(without("pt/2/message/0")["pt/2/message/sum"], 0.0));
  BOOST_TEST(without("pt/2/message/sum")["pt/2/label_scores"] == free["embed"]);  // lambda_z = 1
  BOOST_TEST(all_are(without("pt/2/label_scores")["pt/2/labels"], static_cast<double>(0.1f)));
  BOOST_TEST(all_are(without("pt/2/labels")["pt/3/q"], 0.0));
  BOOST_TEST(all_are(without("pt/3/label_scores")["logits"], 0.0));
  // Without queries every word that can be a head is as likely: 6 in row 0, 5 among 6 in row 1.
  const std::vector<double> heads = without("pt/2/q")["pt/2/heads"];
  BOOST_TEST(std::fabs(heads[1] - 1.0 / 6) < 1e-6);
  BOOST_TEST(std::fabs(heads[3 * 49 + 7 + 2] - 1.0 / 5) < 1e-6);
}

// No result depends on which thread runs first: forward, reverse and random orders.
BOOST_AUTO_TEST_CASE(bitwise_the_same_in_every_thread_order) {
  using simt::host::Order;
  const Tokens tokens = padded_tokens(2, 34);
  const ModelConfig config = pt_config({.schedule = ProbTransformer::Schedule::sync,
                                        .head_step = 0.6,
                                        .label_step = 0.7,
                                        .head_damping = 0.3,
                                        .label_damping = 0.4,
                                        .distances = std::vector<int64_t>{2, 4}});
  const auto gradients = [&](cuda::Model& model) {
    std::vector<double> all;
    model.gradients(tokens.view(), [&](const std::string&, golden::TensorView gradient) {
      all.insert(all.end(), gradient.values.begin(), gradient.values.end());
    });
    return all;
  };
  const auto model = make(config, Precision::fp32);
  const Recorder first = record(*model, tokens);
  const std::vector<double> first_gradients = gradients(*model);
  struct Restore {
    ~Restore() { simt::host::config() = {}; }
  } restore;
  for (const auto& order : {simt::host::Config{.order = Order::reverse, .workers = 1},
                            simt::host::Config{.order = Order::random, .seed = 1, .workers = 1},
                            simt::host::Config{.order = Order::random, .seed = 2, .workers = 2}}) {
    simt::host::config() = order;
    BOOST_TEST(same(record(*model, tokens), first));
    BOOST_TEST((gradients(*model) == first_gradients));
  }
}

BOOST_AUTO_TEST_CASE(gradients_that_nobody_receives_leave_the_loss) {
  const Tokens tokens = padded_tokens(2, 7);
  const auto model = make(pt_config({}), Precision::fp64);
  const Recorder r = record(*model, tokens);
  BOOST_TEST(model->gradients(tokens.view(), {}) == r["loss"][0]);
}

// The arrays of a pass move when a larger one asks for more. Other words than before: what the old
// arrays held would be wrong.
BOOST_AUTO_TEST_CASE(gradients_behind_a_larger_pass_are_those_of_a_new_model) {
  const Tokens small = padded_tokens(2, 7), large = padded_tokens(4, 40);
  Tokens others = small;
  for (int32_t& token : others.tokens) token = (token + 1) % 11;
  for (const auto& [title, config] : pt_all_variants()) {
    BOOST_TEST_INFO_SCOPE(title);
    const auto gradients = [&](cuda::Model& model) {
      std::vector<double> all;
      model.gradients(others.view(), [&](const std::string&, golden::TensorView gradient) {
        all.insert(all.end(), gradient.values.begin(), gradient.values.end());
      });
      return all;
    };
    const auto model = make(config, Precision::fp32);
    model->gradients(small.view(), {});
    model->forward(large.view(), nullptr);
    BOOST_TEST((gradients(*model) == gradients(*make(config, Precision::fp32))));
  }
}

BOOST_AUTO_TEST_CASE(what_the_kernels_cannot_hold_is_refused) {
  BOOST_CHECK_EXCEPTION(
      make(pt_config({.rank = 129}), Precision::fp32), InputError, [](const InputError& error) {
        BOOST_TEST(error.what() == "model: pt: rank: the kernels hold at most 128, got 129");
        return true;
      });
}
