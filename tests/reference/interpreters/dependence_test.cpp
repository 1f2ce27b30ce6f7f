// Dependence of whole models: causal, complete, and with every place where a source enters.
#include "reference/interpreters/dependence.h"

#include <boost/test/unit_test.hpp>

#include "golden/contract/error.h"
#include "reference/methods/registry.h"
#include "tests/reference/models.h"
#include "tests/reference/prob_transformer/variants.h"

namespace tt = boost::test_tools;

namespace assay::reference::testing {
namespace {

constexpr int64_t kBatch = 2, kPositions = 4;

// Every method on every block, and every variant of the Probabilistic Transformer.
std::vector<Variant> every_model() {
  std::vector<Variant> models = pt_all_variants();
  for (const ModelConfig& config : every_method()) models.push_back({title(config), config});
  return models;
}

// Of a tensor with rows: how many of its cells' sources are of the own row, and how many are of
// another row or are labels.
struct Counts {
  int64_t own = 0, strangers = 0;
};

Counts count_sources(const Relation& relation, const Sources& sources) {
  constexpr int64_t kOfInput = kBatch * kPositions;
  Counts counts;
  for (int64_t cell = 0; cell < relation.cells(); ++cell) {
    const int64_t row = cell / (relation.cells() / kBatch);
    for (const int64_t source : relation.sources_of(cell)) {
      const bool is_label = source >= sources.blocks[2].first;
      const bool is_own = source % kOfInput / kPositions == row && !is_label;
      ++(is_own ? counts.own : counts.strangers);
    }
  }
  return counts;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(dependence)

// Logits at (b,t) depend on exactly the tokens (b,0..t): the future and other rows are not in the
// relation, the whole past is.
BOOST_AUTO_TEST_CASE(logits_depend_on_exactly_the_past_of_their_row) {
  for (const ModelConfig& config : every_method()) {
    BOOST_TEST_CONTEXT(title(config)) {
      const auto graph = build_model(config, kBatch, kPositions);
      const Sources sources = make_sources(*graph, {"tokens"});
      const Relation logits =
          dependences(*graph, sources)[static_cast<std::size_t>(graph->find("logits"))];
      for (int64_t cell = 0; cell < logits.cells(); ++cell) {
        const int64_t b = cell / kPositions, t = cell % kPositions;
        std::vector<int64_t> past;
        for (int64_t s = 0; s <= t; ++s) past.push_back(b * kPositions + s);
        BOOST_TEST(logits.sources_of(cell) == past, tt::per_element());
      }
    }
  }
}

// Each layer reaches one window further back; sinks are reached by all.
BOOST_AUTO_TEST_CASE(windowed_logits_depend_on_exactly_what_their_layers_reach) {
  constexpr int64_t kLong = 8, kWindow = 2;
  for (ModelConfig config : every_method()) {
    config.window = kWindow;
    const int64_t reach = config.num_hidden_layers * (kWindow - 1);
    for (const int64_t sinks : {0, 1}) {
      config.sink_tokens = sinks;
      const auto graph = build_model(config, 1, kLong);
      const Sources sources = make_sources(*graph, {"tokens"});
      const Relation logits =
          dependences(*graph, sources)[static_cast<std::size_t>(graph->find("logits"))];
      for (int64_t t = 0; t < kLong; ++t) {
        std::vector<int64_t> reached;
        for (int64_t s = 0; s <= t; ++s) {
          if (t - s <= reach || s < sinks) reached.push_back(s);
        }
        BOOST_TEST(logits.sources_of(t) == reached, title(config) << ", sinks " << sinks);
      }
    }
  }
}

// Not only of named tensors: of every node. Whatever has a row is of one row, and what has none is
// the loss or a parameter.
BOOST_AUTO_TEST_CASE(every_tensor_of_a_row_depends_on_that_row_alone_and_on_no_label) {
  for (const Variant& model : every_model()) {
    BOOST_TEST_CONTEXT(model.title) {
      const auto graph = build_model(model.config, kBatch, kPositions);
      const Sources sources = make_sources(*graph, {"tokens", "attention_mask", "labels"});
      const std::vector<Relation> relations = dependences(*graph, sources);
      int64_t own = 0;
      for (int id = 0; id < static_cast<int>(relations.size()); ++id) {
        if (graph->node(id).op == nullptr || graph->node(id).name == "loss") continue;
        const Relation& relation = relations[static_cast<std::size_t>(id)];
        if (relation.cell_axes().starts_with('B')) {
          const Counts counts = count_sources(relation, sources);
          BOOST_TEST(counts.strangers == 0, graph->describe(id));
          own += counts.own;
        } else {
          for (int64_t cell = 0; cell < relation.cells(); ++cell) {
            BOOST_TEST(relation.sources_of(cell).empty(), graph->describe(id));
          }
        }
      }
      BOOST_TEST(own > 1000);
    }
  }
}

// What the test above would be empty without: the loss has no row, and reads labels of both.
BOOST_AUTO_TEST_CASE(the_loss_of_every_model_depends_on_tokens_and_labels_of_every_row) {
  for (const Variant& model : every_model()) {
    BOOST_TEST_CONTEXT(model.title) {
      const auto graph = build_model(model.config, kBatch, kPositions);
      const Sources sources = make_sources(*graph, {"tokens", "labels"});
      const Relation loss =
          dependences(*graph, sources)[static_cast<std::size_t>(graph->find("loss"))];
      BOOST_TEST(loss.cells() == 1);
      for (int64_t source = 0; source < sources.count; ++source) {
        const int64_t t = source % kPositions;
        const bool label = source >= sources.blocks[1].first;
        // Next-token losses read no label of position 0, and no logits of the last position.
        if (t == 0 || t == kPositions - 1) continue;
        BOOST_TEST(loss.depends(0, source), (label ? "label " : "token ") << source);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(sources_are_numbered_one_input_after_another) {
  const auto graph = build_model(ragged_config("plain"), kBatch, kPositions);
  const Sources sources = make_sources(*graph, {"tokens", "labels"});
  BOOST_TEST(sources.count == 2 * kBatch * kPositions);
  BOOST_TEST(sources.blocks[1].first == kBatch * kPositions);
  const auto relations = dependences(*graph, sources);
  const Relation& loss = relations[static_cast<std::size_t>(graph->find("loss"))];
  // Of each row the first label and the last token's logits are never read.
  std::vector<int64_t> expected{0, 1, 2, 4, 5, 6, 9, 10, 11, 13, 14, 15};
  BOOST_TEST(loss.sources_of(0) == expected, tt::per_element());
}

// The mask of a key reaches whoever could read that key, and itself: a padded first token has an
// empty row.
BOOST_AUTO_TEST_CASE(probabilities_depend_on_the_mask_of_the_past) {
  const auto graph = build_model(ragged_config("plain", 1), 1, 3);
  const Sources sources = make_sources(*graph, {"attention_mask"});
  const Relation probs =
      dependences(*graph, sources)[static_cast<std::size_t>(graph->find("layers/0/attn/probs"))];
  for (int64_t cell = 0; cell < probs.cells(); ++cell) {
    const int64_t t = cell / 3 % 3, s = cell % 3;
    std::vector<int64_t> past;
    for (int64_t key = 0; s <= t && key <= t; ++key) past.push_back(key);
    BOOST_TEST(probs.sources_of(cell) == past, tt::per_element());
    BOOST_TEST((probs.kind(cell) == (s <= t ? Relation::Cell::variable : Relation::Cell::zero)));
  }
}

BOOST_AUTO_TEST_CASE(an_unknown_input_is_refused_by_name) {
  const auto graph = build_model(ragged_config("plain"), kBatch, kPositions);
  BOOST_CHECK_EXCEPTION(
      make_sources(*graph, {"tokens", "nonsense"}), InputError, [](const InputError& e) {
        return std::string(e.what()) == "dependence: the graph has no input nonsense";
      });
}

// Bits beyond the first word of a set.
BOOST_AUTO_TEST_CASE(relations_hold_more_than_64_sources) {
  Relation a({2}, "T", 130), b({2}, "T", 130);
  a.add_source(1, 129);
  a.add_source(1, 63);
  b.unite(0, a, 1);
  BOOST_TEST(b.sources_of(0) == (std::vector<int64_t>{63, 129}), tt::per_element());
  BOOST_TEST(b.sources_of(1).empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
