// What the kernels of the Probabilistic Transformer compute from what. With causal heads every
// element of every tensor depends on exactly the past that the specification gives it. Heads on
// both sides are compared with the reference's graph, in dependences_graph_test.cpp. Planted
// defects are in tests/mutants/kernels.
#include <boost/test/unit_test.hpp>

#include "dependence_judge.h"
#include "golden/contract/error.h"

using namespace assay;
using dependences::Tokens;
using golden::ModelConfig;
using golden::ProbTransformer;

namespace {

void check_exact(const ModelConfig& config, const Tokens& tokens) {
  const dependences::Result result = dependences::judge(config, tokens);
  BOOST_TEST(result.first_fault == "");
  const auto list = golden::tensor_list(config, tokens.B, tokens.T);
  BOOST_TEST(static_cast<std::size_t>(result.tensors) == list.size());
  BOOST_TEST(result.dependences > result.elements);
}

}  // namespace

// One tile and two; with padding ahead of the words and among them.
BOOST_AUTO_TEST_CASE(with_causal_heads_every_element_depends_on_its_past_and_on_nothing_else) {
  for (const auto message : {ProbTransformer::Message::head, ProbTransformer::Message::symmetric}) {
    for (const bool distances : {false, true}) {
      ModelConfig config = dependences::tiny_pt(message);
      config.pt.iterations = 3;
      if (distances) config.pt.distances = std::vector<int64_t>{2, 4};
      check_exact(config, Tokens(2, 9, 0));
      Tokens padded(2, 9, 3);
      padded.mask[9 + 4] = 0;
      check_exact(config, padded);
      check_exact(config, Tokens(2, 34, 0));
      check_exact(config, Tokens(2, 34, 33));
    }
  }
}

BOOST_AUTO_TEST_CASE(heads_on_both_sides_and_another_schedule_are_not_judged) {
  ModelConfig both_sides = dependences::tiny_pt(ProbTransformer::Message::head);
  both_sides.pt.causal_heads = false;
  BOOST_CHECK_THROW(dependences::judge(both_sides, Tokens(2, 9, 0)), InputError);
  ModelConfig sync = dependences::tiny_pt(ProbTransformer::Message::head);
  sync.pt.schedule = ProbTransformer::Schedule::sync;
  BOOST_CHECK_THROW(dependences::judge(sync, Tokens(2, 9, 0)), InputError);
}
