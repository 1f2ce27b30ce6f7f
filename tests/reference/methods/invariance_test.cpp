// What must not change the bits of a result: later tokens, other rows of the batch, their order,
// and the number of threads.
#include <tbb/global_control.h>

#include <boost/test/unit_test.hpp>

#include "golden/contract/names.h"
#include "tests/reference/models.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kSeed = 71;

// Compares every named tensor of `part` with the same rows and positions of `whole`; the loss is a
// mean over all of them and has no part.
void check_part(const ModelConfig& config, const Inputs& inputs, const Tensors& whole,
                const Tensors& part, const std::vector<int64_t>& rows, int64_t positions) {
  int compared = 0;
  for (const golden::TensorInfo& info :
       golden::tensor_list(config, inputs.batch, inputs.positions)) {
    if (info.name == "loss") continue;
    ++compared;
    const Tensor expected = slice(whole.at(info.name), info.axes, rows, positions);
    BOOST_TEST(same_bits(part.at(info.name).values, expected.values), info.name);
  }
  BOOST_TEST(compared > 40);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(invariance)

// T = 37 is not a multiple of any block or vector length.
BOOST_AUTO_TEST_CASE(a_prefix_computes_the_bits_of_the_whole_sequence) {
  constexpr int64_t kPositions = 37;
  for (const ModelConfig& config : every_method()) {
    const Inputs inputs = random_inputs(config, 2, kPositions, kSeed, {0, 3});
    const Tensors weights = synthetic_weights(config, kSeed);
    const Tensors whole = run_model(config, inputs, weights);
    for (int64_t t = 1; t <= kPositions; ++t) {
      BOOST_TEST_CONTEXT(title(config) << ", first " << t << " tokens") {
        const Tensors part = run_model(config, select(inputs, {0, 1}, t), weights);
        check_part(config, inputs, whole, part, {0, 1}, t);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_row_alone_computes_the_bits_it_has_in_a_batch) {
  for (const ModelConfig& config : every_method()) {
    const Inputs inputs = random_inputs(config, 3, 13, kSeed, {0, 4});
    const Tensors weights = synthetic_weights(config, kSeed);
    const Tensors whole = run_model(config, inputs, weights);
    for (const int64_t row : {0, 1, 2}) {
      BOOST_TEST_CONTEXT(title(config) << ", row " << row) {
        const Tensors part = run_model(config, select(inputs, {row}, 13), weights);
        check_part(config, inputs, whole, part, {row}, 13);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(permuting_the_batch_permutes_the_results) {
  const std::vector<int64_t> order{2, 0, 1};
  for (const ModelConfig& config : every_method()) {
    const Inputs inputs = random_inputs(config, 3, 13, kSeed, {0, 4});
    const Tensors weights = synthetic_weights(config, kSeed);
    const Tensors whole = run_model(config, inputs, weights);
    BOOST_TEST_CONTEXT(title(config)) {
      const Tensors part = run_model(config, select(inputs, order, 13), weights);
      check_part(config, inputs, whole, part, order, 13);
      BOOST_TEST(relative_error(part.at("loss").values, whole.at("loss").values) <= 1e-14);
    }
  }
}

// Large enough that work is split: D = 128, B T = 130 rows.
BOOST_AUTO_TEST_CASE(the_number_of_threads_does_not_change_a_bit) {
  for (ModelConfig config : every_method()) {
    const ModelConfig small = golden::preset("small");
    config.hidden_size = small.hidden_size;
    config.intermediate_size = small.intermediate_size;
    config.num_attention_heads = small.num_attention_heads;
    config.num_key_value_heads = small.num_key_value_heads;
    config.head_dim = small.head_dim;
    config.vocab_size = small.vocab_size;
    const auto run_with = [&](std::size_t threads) {
      const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
      return run_model(config, random_inputs(config, 2, 65, kSeed, {0, 3}),
                       synthetic_weights(config, kSeed));
    };
    const Tensors one = run_with(1);
    for (const std::size_t threads : {2u, 5u}) {
      const Tensors several = run_with(threads);
      BOOST_TEST_CONTEXT(title(config) << ", " << threads << " threads") {
        BOOST_TEST(several.size() == one.size());
        for (const auto& [name, tensor] : one) {
          BOOST_TEST(same_bits(several.at(name).values, tensor.values), name);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
