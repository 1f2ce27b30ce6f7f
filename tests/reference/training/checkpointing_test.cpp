// Gradient checkpointing: the same bits with less memory.
#include <boost/test/unit_test.hpp>

#include "reference/interpreters/gradient.h"
#include "rows.h"

using namespace assay;
using namespace assay::reference;
using namespace assay::reference::testing;

namespace {

struct Pass {
  Tensors values, gradients;
  std::vector<std::string> order;
  int64_t kept_bytes = 0, peak_bytes = 0;
};

// forced: a tensor that is replaced on its way; may be "".
Pass pass_of(const ModelConfig& config, Keep keep, int64_t B, int64_t T,
             const std::string& forced = "") {
  const auto graph = build_model(config, B, T);
  const auto tensors = synthetic_weights(config, 5);
  Values held;
  for (const auto& [name, tensor] : tensors) held[name] = tensor.values;
  const Trainer trainer(config, HeldWeights(held));  // weights are there before and after
  const Rows rows(config, B, T, 5);
  Collector values;
  if (!forced.empty()) {
    Tensor other = values.tensors[forced];
    const golden::Shape& shape = graph->node(graph->find(forced)).shape();
    other = {shape, std::vector<double>(static_cast<std::size_t>(golden::element_count(shape)))};
    for (std::size_t i = 0; i < other.values.size(); ++i) {
      other.values[i] = 0.1 * static_cast<double>(i % 7);
    }
    values.forced[forced] = other;
  }
  GradientCollector gradients;
  Pass pass;
  pass.kept_bytes =
      evaluate_with_gradient(*graph, trainer.bindings(rows.view()), graph->find("loss"), values,
                             gradients, segments_of(*graph, keep));
  pass.values = values.tensors;
  pass.order = values.order;
  pass.gradients = gradients.gradients;
  return pass;
}

void check_same(const Tensors& got, const Tensors& expected) {
  BOOST_REQUIRE_EQUAL(got.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    const std::vector<double>&a = got.at(name).values, &b = tensor.values;
    BOOST_TEST(std::equal(a.begin(), a.end(), b.begin(), b.end(),
                          [](double x, double y) { return x == y || (x != x && y != y); }),
               name);
  }
}

// Watches without holding anything.
struct Watcher : Observer, GradientObserver {
  Array observe(const NodeData&, Array value) override { return value; }
  void observe_gradient(const NodeData&, const Array&) override {}
};

// Bytes between the passes, and at the worst moment of all.
std::pair<int64_t, int64_t> memory_of(const ModelConfig& config, Keep keep, int64_t B, int64_t T) {
  const auto graph = build_model(config, B, T);
  const Trainer trainer(config, golden::SyntheticWeights(config, 5));
  const Rows rows(config, B, T, 5);
  const int64_t before = live_bytes();
  reset_peak_bytes();
  Watcher watcher;
  const int64_t kept =
      evaluate_with_gradient(*graph, trainer.bindings(rows.view()), graph->find("loss"), watcher,
                             watcher, segments_of(*graph, keep));
  return {kept, peak_bytes() - before};
}

}  // namespace

// Gradients of every activation and weight of every method and block, and the forward values that
// an observer sees, once each and in order.
BOOST_AUTO_TEST_CASE(gradients_have_the_bits_of_the_plain_backward_pass) {
  for (const ModelConfig& config : every_model()) {
    BOOST_TEST_INFO_SCOPE(title(config));
    const Pass plain = pass_of(config, Keep::all, 2, 7);
    for (const Keep keep : {Keep::shared, Keep::inputs}) {
      const Pass again = pass_of(config, keep, 2, 7);
      check_same(again.gradients, plain.gradients);
      check_same(again.values, plain.values);
      BOOST_TEST(again.order == plain.order, boost::test_tools::per_element());
      BOOST_TEST(again.kept_bytes < plain.kept_bytes);
    }
  }
}

// A value that an observer replaced is not what computing again would give.
BOOST_AUTO_TEST_CASE(replaced_values_are_kept) {
  for (const char* method : {"1", "3.2", "5.5"}) {
    const ModelConfig config = ragged_config(method);
    for (const char* forced : {"layers/1/attn/v", "layers/0/attn/probs", "layers/2/mlp/act"}) {
      BOOST_TEST_INFO_SCOPE(method << " " << forced);
      const Pass plain = pass_of(config, Keep::all, 2, 7, forced);
      for (const Keep keep : {Keep::shared, Keep::inputs}) {
        check_same(pass_of(config, keep, 2, 7, forced).gradients, plain.gradients);
      }
    }
  }
}

// With 8-byte numbers, of a model with pre-norm:
//   inputs   (L + 1) B T D + B T (D + V + 3): the inputs of layers and the last output; final_norm,
//            logits, tokens, mask and labels
//   shared   (L - 1) B H T T more: the A_j that later layers read
// The weights are there anyway.
BOOST_AUTO_TEST_CASE(kept_bytes_are_those_of_the_formula) {
  const int64_t B = 2, T = 9;
  for (const char* method : {"1", "2", "3.1", "3.2", "4.1", "4.2"}) {
    for (const int64_t L : {2, 3, 5}) {
      BOOST_TEST_INFO_SCOPE(method << ", L = " << L);
      const ModelConfig c = ragged_config(method, L);
      const int64_t inputs =
          (L + 1) * B * T * c.hidden_size + B * T * (c.hidden_size + c.vocab_size + 3);
      const int64_t probs = (L - 1) * B * c.num_attention_heads * T * T;
      BOOST_TEST(memory_of(c, Keep::inputs, B, T).first == 8 * inputs);
      BOOST_TEST(memory_of(c, Keep::shared, B, T).first == 8 * (inputs + probs));
    }
  }
}

// Without checkpointing the worst moment grows with every layer by all that rules read of it, with
// it by its input, and for the plain model by nothing else.
BOOST_AUTO_TEST_CASE(the_worst_moment_grows_by_a_layers_input_alone) {
  const int64_t B = 2, T = 33;
  const auto growth = [&](Keep keep) {
    return memory_of(ragged_config("plain", 7), keep, B, T).second -
           memory_of(ragged_config("plain", 6), keep, B, T).second;
  };
  const ModelConfig c = ragged_config("plain", 7);
  BOOST_TEST(growth(Keep::inputs) == 8 * B * T * c.hidden_size);
  BOOST_TEST(growth(Keep::all) > 8 * B * c.num_attention_heads * T * T);
}

BOOST_AUTO_TEST_CASE(a_trainer_that_computes_again_trains_as_one_that_keeps) {
  for (const ModelConfig& config : every_model(2)) {
    BOOST_TEST_INFO_SCOPE(title(config));
    const Rows rows(config, 2, 7, 3);
    std::vector<Values> ends;
    for (const Keep keep : {Keep::all, Keep::shared, Keep::inputs}) {
      Trainer trainer(config, golden::SyntheticWeights(config, 7), {.max_norm = 1}, keep);
      for (int step = 0; step < 2; ++step) {
        trainer.accumulate(rows.view());
        trainer.step(0.01);
      }
      ends.push_back(weights_of(trainer));
    }
    BOOST_TEST((ends[0] == ends[1]));
    BOOST_TEST((ends[0] == ends[2]));
  }
}
