// What docs/tensors.md says of the tensors covers every tensor of every model, once, in its shape.
#include <boost/test/unit_test.hpp>
#include <map>
#include <set>
#include <sstream>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/contract/tensor_meanings.h"

namespace tt = boost::test_tools;

namespace assay::golden {
namespace {

constexpr int64_t kBatch = 2, kPositions = 5;

// Extents that are all different where the block allows it, so that a wrong letter shows.
ModelConfig ragged(const std::string& method, BlockKind block, NormPosition norm) {
  ModelConfig config = preset("tiny", block);
  config.method = method;
  config.norm = norm;
  config.hidden_size = 24;
  config.intermediate_size = 56;
  config.num_attention_heads = 6;
  config.num_key_value_heads = 3;
  config.head_dim = 4;
  config.vocab_size = 37;
  if (find_method(method).takes("score_positions")) config.score_positions = kPositions;
  return config;
}

std::vector<ModelConfig> pt_configs() {
  std::vector<ModelConfig> configs;
  const ModelConfig plain = ragged("pt", BlockKind::llama, NormPosition::pre);
  for (const auto message : {ProbTransformer::Message::full, ProbTransformer::Message::head}) {
    for (const auto schedule :
         {ProbTransformer::Schedule::async, ProbTransformer::Schedule::sync}) {
      for (const auto& [heads, labels] : {std::pair{1, 1}, std::pair{2, 1}, std::pair{1, 2}}) {
        configs.push_back(plain);
        ProbTransformer& pt = configs.back().pt;
        pt.message = message;
        pt.schedule = schedule;
        pt.head_groups = heads;
        pt.label_groups = labels;
        pt.distances = std::vector<int64_t>{2};  // K = 4
        if (heads > 1 && schedule == ProbTransformer::Schedule::async) {
          pt.updates = ProbTransformer::Updates::in_turn;
        }
      }
    }
  }
  return configs;
}

std::vector<ModelConfig> every_model() {
  std::vector<ModelConfig> configs = pt_configs();
  for (const MethodInfo& method : methods()) {
    if (method.family == Family::prob_transformer) continue;
    configs.push_back(ragged(method.id, BlockKind::llama, NormPosition::pre));
    configs.push_back(configs.back());
    configs.back().qk_norm = true;
    configs.push_back(ragged(method.id, BlockKind::gpt2, NormPosition::pre));
    configs.push_back(ragged(method.id, BlockKind::gpt2, NormPosition::post));
    for (const BlockKind block : {BlockKind::llama, BlockKind::gpt2}) {
      configs.push_back(ragged(method.id, block, NormPosition::pre));
      configs.back().window = 4;
      configs.back().window_kind = WindowKind::dynamic;
    }
  }
  return configs;
}

// "B,H*Dh" with the extents of the config.
Shape shape_of(const std::string& letters, const ModelConfig& c) {
  std::map<std::string, int64_t> extents{{"B", kBatch},
                                         {"T", kPositions},
                                         {"V", c.vocab_size},
                                         {"D", c.hidden_size},
                                         {"F", c.intermediate_size},
                                         {"H", c.num_attention_heads},
                                         {"Dh", c.head_dim},
                                         {"Hkv", c.num_key_value_heads},
                                         {"Dz", c.hidden_size}};
  if (find_method(c.method).family == Family::prob_transformer) {
    const ProbTransformer pt = prob_transformer_of(c);
    extents["K"] = distance_groups(pt);
    extents["C"] = pt.channels;
    extents["r"] = pt.rank;
  }
  Shape shape;
  std::istringstream axes(letters);
  for (std::string axis; std::getline(axes, axis, ',');) {
    int64_t extent = 1;
    std::istringstream factors(axis);
    for (std::string factor; std::getline(factors, factor, '*');) extent *= extents.at(factor);
    shape.push_back(extent);
  }
  return shape;
}

std::string title(const ModelConfig& c) {
  return "method " + c.method + (c.block == BlockKind::gpt2 ? ", GPT-2" : "") +
         (c.norm == NormPosition::post ? ", post-norm" : "") +
         (c.qk_norm ? ", norms of q and k" : "");
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_tensor_has_one_meaning_and_its_shape) {
  std::size_t tensors = 0;
  for (const ModelConfig& config : every_model()) {
    validate(config, title(config));
    for (const TensorInfo& info : tensor_list(config, kBatch, kPositions)) {
      BOOST_TEST_CONTEXT(title(config) << ": " << info.name) {
        std::vector<const TensorMeaning*> rows;
        for (const TensorMeaning& row : tensor_meanings()) {
          if (describes(row, config, info.name)) rows.push_back(&row);
        }
        BOOST_TEST_REQUIRE(rows.size() == 1u);
        BOOST_TEST(shape_of(rows[0]->shape, config) == info.shape, tt::per_element());
        ++tensors;
      }
    }
  }
  BOOST_TEST(tensors > 4000u);
}

// A row that describes no tensor tells users of one that does not exist.
BOOST_AUTO_TEST_CASE(every_meaning_describes_a_tensor) {
  std::set<const TensorMeaning*> used;
  for (const ModelConfig& config : every_model()) {
    for (const TensorInfo& info : tensor_list(config, kBatch, kPositions)) {
      for (const TensorMeaning& row : tensor_meanings()) {
        if (describes(row, config, info.name)) used.insert(&row);
      }
    }
  }
  for (const TensorMeaning& row : tensor_meanings()) {
    BOOST_TEST(used.contains(&row), row.part << ": " << row.name << ", " << row.only);
    BOOST_TEST(row.meaning.size() > 5u, row.name);
  }
}

BOOST_AUTO_TEST_CASE(names_that_are_none_have_no_meaning) {
  const ModelConfig config = ragged("1", BlockKind::llama, NormPosition::pre);
  for (const char* name : {"", "layers//input", "layers/0/inputs", "layers/x/input", "pt/1/q",
                           "layers/0/mlp_residual", "embed/0", "layers/1/attn/sum"}) {
    for (const TensorMeaning& row : tensor_meanings()) {
      BOOST_TEST(!describes(row, config, name), name);
    }
  }
}

}  // namespace assay::golden
