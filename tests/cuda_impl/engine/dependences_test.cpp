// What the engine's kernels compute from what: every element of every tensor depends on exactly the
// positions that the method says. Planted defects are in tests/mutants/kernels.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <map>

#include "cuda_impl/kernels/kernels.h"
#include "cuda_impl/simt/tainted.h"
#include "dependence_judge.h"
#include "golden/contract/error.h"

using namespace assay;
using dependences::judge;
using dependences::Result;
using dependences::Tokens;
using golden::ModelConfig;
using simt::Tainted;

namespace {

std::vector<ModelConfig> models(int64_t layers) {
  std::vector<ModelConfig> all;
  for (const golden::MethodInfo& method : golden::methods()) {
    if (method.family == golden::Family::prob_transformer) continue;
    all.push_back(dependences::tiny(method.id, layers));
    all.push_back(dependences::tiny(method.id, layers));
    all.back().qk_norm = true;
    all.back().attention_bias = golden::AttentionBias::all;
    all.push_back(dependences::tiny_gpt2(method.id, golden::NormPosition::pre, layers));
    all.push_back(dependences::tiny_gpt2(method.id, golden::NormPosition::post, layers));
  }
  return all;
}

void check_exact(const ModelConfig& config, const Tokens& tokens,
                 const cuda::ModelOptions& options = {}) {
  const Result result = judge(config, tokens, options);
  BOOST_TEST(result.first_fault == "", dependences::text_of(config));
  std::vector<golden::TensorInfo> list = golden::tensor_list(config, tokens.B, tokens.T);
  if (options.recompute == cuda::Recompute::stacked) {
    std::erase_if(list, [](const auto& tensor) { return golden::is_recomputed(tensor.name); });
  }
  BOOST_TEST(static_cast<std::size_t>(result.tensors) == list.size());
  BOOST_TEST(result.dependences > result.elements);
}

struct Values final : cuda::Probe {
  std::map<std::string, std::vector<double>> seen;

  bool wants(const std::string&) override { return true; }
  void tap(const std::string& name, golden::TensorView value) override {
    seen[name].assign(value.values.begin(), value.values.end());
  }
  bool force(const std::string&, std::span<double>) override { return false; }
};

}  // namespace

// Three layers: two earlier ones to recompute, or to sum scores with.
BOOST_AUTO_TEST_CASE(every_element_depends_on_its_own_past_and_on_nothing_else) {
  const Tokens tokens(2, 9, 0);
  for (const ModelConfig& config : models(3)) check_exact(config, tokens);
}

BOOST_AUTO_TEST_CASE(real_positions_do_not_depend_on_padding) {
  Tokens tokens(2, 9, 3);
  tokens.mask[9 + 4] = 0;  // and a hole in row 1
  for (const ModelConfig& config : models(3)) check_exact(config, tokens);
}

// Groups of one layer as well as all at once; of a method without recompute it is the same again.
BOOST_AUTO_TEST_CASE(stacked_recomputes_depend_on_no_more) {
  Tokens tokens(2, 9, 3);
  tokens.mask[9 + 4] = 0;
  for (const ModelConfig& config : models(4)) {
    for (const std::size_t bytes : {0u, 1u << 30}) {
      check_exact(config, tokens, {.recompute = cuda::Recompute::stacked, .stack_bytes = bytes});
    }
  }
}

// Padding, windows, and 34 positions: two tiles of queries and of keys.
BOOST_AUTO_TEST_CASE(recomputes_of_stored_probabilities_depend_on_no_more) {
  Tokens tokens(2, 9, 3);
  tokens.mask[9 + 4] = 0;
  for (const cuda::Recompute recompute : {cuda::Recompute::each, cuda::Recompute::stacked}) {
    const cuda::ModelOptions options{.recompute = recompute, .stored_bytes = 1u << 30};
    for (ModelConfig config : models(3)) {
      check_exact(config, tokens, options);
      config.window = 3;
      config.sink_tokens = 1;
      check_exact(config, tokens, options);
    }
    check_exact(dependences::tiny("1", 2), Tokens(2, 34, 33), options);
  }
}

// 34 positions are two tiles of queries and of keys, 68 rows two tiles of a gemm.
BOOST_AUTO_TEST_CASE(dependences_are_exact_across_tiles) {
  for (const char* method : {"plain", "1", "5.1"}) {
    for (const int64_t padding : {0, 33}) {
      check_exact(dependences::tiny(method, 2), Tokens(2, 34, padding));
      check_exact(dependences::tiny_gpt2(method, golden::NormPosition::pre, 2),
                  Tokens(2, 34, padding));
    }
  }
}

// Windows inside a tile and across two; a layer reaches one window further back than the one
// before.
BOOST_AUTO_TEST_CASE(windowed_dependences_are_exact) {
  for (const char* method : {"plain", "1", "2", "4.2", "5.1", "5.1E"}) {
    for (const auto& [window, sinks] : {std::pair{3, 0}, {2, 1}, {9, 0}}) {
      for (ModelConfig config : {dependences::tiny(method, 3),
                                 dependences::tiny_gpt2(method, golden::NormPosition::pre, 3)}) {
        config.window = window;
        config.sink_tokens = sinks;
        Tokens tokens(2, 9, 3);
        tokens.mask[9 + 4] = 0;
        check_exact(config, tokens);
      }
    }
  }
  for (const char* method : {"plain", "1", "5.1"}) {
    ModelConfig config = dependences::tiny(method, 2);
    config.max_position_embeddings = 70;
    for (const int64_t sinks : {0, 2}) {
      config.window = 7;
      config.sink_tokens = sinks;
      check_exact(config, Tokens(1, 70, 1));
    }
  }
}

// The judge tells a window from its neighbours.
BOOST_AUTO_TEST_CASE(a_window_off_by_one_is_found) {
  ModelConfig expected = dependences::tiny("1", 2), wide = expected, narrow = expected;
  expected.window = 4;
  wide.window = 5;
  narrow.window = 3;
  const Tokens tokens(2, 9, 0);
  BOOST_TEST(judge(wide, expected, tokens).first_fault ==
             "layers/0/attn/scores at (b0,h0,t4,s0) sees (b0,s0)");
  BOOST_TEST(judge(narrow, expected, tokens).first_fault ==
             "layers/0/attn/scores at (b0,h0,t3,s0) does not see (b0,s0)");
}

// The scalar computes what fp64 computes, so what holds for it holds for the kernels as they run.
BOOST_AUTO_TEST_CASE(values_are_those_of_fp64_bit_for_bit) {
  const Tokens tokens(2, 9, 3);
  for (const ModelConfig& config : models(3)) {
    const golden::SyntheticWeights weights(config, 7);
    Values values;
    cuda::make_host_model(config, golden::Precision::fp64, weights)
        ->forward(tokens.view(), &values);
    std::size_t compared = 0;
    cuda::trace_dependences(
        config, weights, tokens.view(),
        [&](const golden::TensorInfo& info, std::span<const double> traced, const auto&) {
          ++compared;
          BOOST_TEST(std::ranges::equal(traced, values.seen.at(info.name)),
                     dependences::text_of(config) << " " << info.name);
        });
    BOOST_TEST(compared == values.seen.size());
  }
}

// What stands ahead of the first source: an embedding reads the row of its token, and of its
// position.
BOOST_AUTO_TEST_CASE(an_embedding_is_its_own_token_s_row) {
  constexpr int64_t kB = 2, kT = 3, kV = 7, kD = 4;
  const std::vector<int32_t> tokens{5, 0, 6, 2, 2, 1};
  const auto rows_from = [](int first, int64_t rows) {
    std::vector<Tainted> table;
    for (int64_t i = 0; i < rows * kD; ++i) {
      table.push_back(static_cast<double>(i));
      table.back().sources.add(first + static_cast<int>(i / kD));
    }
    return table;
  };
  const simt::Buffer<Tainted> table(rows_from(0, kV)), positions(rows_from(100, kT)),
      y(kB * kT * kD);
  const simt::Buffer<int32_t> ids(tokens);
  for (const bool with_positions : {false, true}) {
    cuda::embedding<Tainted>({y.get(), {kB * kT, kD}}, {table.get(), {kV, kD}},
                             {with_positions ? positions.get() : nullptr, {kT, kD}},
                             {ids.get(), {kB, kT}}, nullptr, nullptr);
    std::vector<Tainted> out;
    y.to(out);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t n = i / kD;
      simt::SourceSet expected{};
      expected.add(tokens[n]);
      if (with_positions) expected.add(100 + static_cast<int>(n % kT));
      BOOST_TEST((out[i].sources == expected), "element " << i);
    }
  }
}

BOOST_AUTO_TEST_CASE(more_positions_than_sources_are_refused) {
  const Tokens tokens(3, 43, 0);
  BOOST_CHECK_EXCEPTION(
      judge(dependences::tiny("plain", 1), tokens), InputError, [](const InputError& error) {
        BOOST_TEST(error.what() ==
                   "batch: dependences are traced for at most 128 positions, got 129");
        return true;
      });
}
