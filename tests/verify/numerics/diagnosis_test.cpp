// Planted defects are found at the right node and named by their mechanism.
#include <boost/test/unit_test.hpp>

#include "reference/ops/mask.h"
#include "reference/ops/scale.h"
#include "reference/ops/softmax.h"
#include "tests/verify/numerics/fixture.h"
#include "verify/numerics/rearrange.h"

namespace assay::verify::testing {
namespace {

using reference::Graph;
using reference::Node;

// "a/b", or "op (before a/b)" for an unnamed node on the way to a/b.
Reader only(const std::string& name) {
  return [name](const std::string& described) { return described.find(name) != std::string::npos; };
}

struct Planted {
  const char* what;
  std::string method, at;
  GraphEdit edit;
  Reader reader;
  std::string diverged, diagnosis;
};

Node softmax_again(Graph& graph, Node probs) {
  const Node mask{&graph, graph.find("attention_mask")};
  return reference::softmax(reference::causal_mask(probs, mask));
}

Node turned(Graph&, Node x) { return rearrange(x, x.data().result, transpose_last_two(x.shape())); }

Node zero(Graph&, Node x) {
  const auto elements = static_cast<std::size_t>(golden::element_count(x.shape()));
  return rearrange(x, x.data().result, std::vector<int64_t>(elements, kZero));
}

std::vector<Planted> defects() {
  const std::string replay = "layers/2/recompute/0/context";
  return {
      {"re-softmax", "1", "layers/0/attn/probs", softmax_again, only(replay), replay,
       "equals layers/2/recompute/0/context with layers/0/attn/probs replaced by softmax of the "
       "golden probabilities"},
      {"transposed replay", "1", "layers/0/attn/probs", turned, only(replay), replay,
       "equals layers/2/recompute/0/context with layers/0/attn/probs transposed"},
      {"wrong layer's probabilities", "1", "layers/0/attn/probs",
       [](Graph& graph, Node) {
         return Node{&graph, graph.find("layers/1/attn/probs")};
       },
       only(replay), replay,
       "equals layers/2/recompute/0/context with layers/0/attn/probs replaced by "
       "layers/1/attn/probs"},
      {"wrong layer's norm", "1", "model.layers.0.input_layernorm.weight",
       [](Graph& graph, Node) {
         return Node{&graph, graph.find("model.layers.2.input_layernorm.weight")};
       },
       only("layers/2/recompute/0/attn_norm"), "layers/2/recompute/0/attn_norm",
       "equals layers/2/recompute/0/attn_norm with model.layers.0.input_layernorm.weight replaced "
       "by model.layers.2.input_layernorm.weight"},
      {"silent fallback", "1", "layers/2/mlp/sum", zero, only("layers/2/output"), "layers/2/output",
       "equals layers/2/output with layers/2/mlp/sum left out"},
      {"dropped residual", "plain", "layers/1/input", zero, only("layers/1/attn_residual"),
       "layers/1/attn_residual", "equals layers/1/attn/out"},
      {"scale of the stream", "plain", "layers/1/attn/context",
       [](Graph&, Node x) { return reference::scale(x, 0.5); }, only("layers/1/attn/out"),
       "layers/1/attn/out", "equals layers/1/attn/out times 0.5 (its square: 0.25)"},
      {"tiled heads", "plain", "layers/1/attn/v",
       [](Graph&, Node x) {
         const golden::Shape s = x.shape();
         return rearrange(x, {{s[0], 4, s[2], s[3]}, "BGTD"}, tile_heads(s, 4));
       },
       only("layers/1/attn/context"), "layers/1/attn/context",
       "equals layers/1/attn/context with layers/1/attn/v tiled over query heads (h mod Hkv) "
       "instead of repeated"},
      {"earlier scores missing", "5.1", "layers/0/attn/q", zero, only("layers/2/attn/scores"), "",
       ""},
  };
}

BOOST_AUTO_TEST_SUITE(diagnosis)

BOOST_AUTO_TEST_CASE(planted_defects_are_localised_and_named) {
  for (const Planted& defect : defects()) {
    if (defect.diverged.empty()) continue;
    const GoldenFixture golden(config_of("tiny", defect.method));
    for (const Precision storage : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      for (const bool force : {true, false}) {
        GraphSubject inner =
            golden.subject(planted(defect.at, defect.edit, defect.reader), storage);
        Altered subject(
            inner, [](Observed observed, const Receive& receive) { receive(std::move(observed)); });
        subject.can_force = force;
        const NumericsResult result = verify_numerics(golden.reader(), subject, {});
        BOOST_TEST_CONTEXT(defect.what << ", " << golden::precision_name(storage) << ", forced "
                                       << force << text_of(result)) {
          BOOST_TEST(exit_code_of(result) == 1);
          BOOST_TEST(result.diverged == defect.diverged);
          BOOST_TEST(result.diagnosis == defect.diagnosis);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(report_names_place_inputs_and_the_command_to_see_it_again) {
  const GoldenFixture golden(config_of("tiny", "plain"));
  GraphSubject reference = golden.reference(Precision::fp64);
  Altered subject(reference, change_one("layers/1/attn/q", [](Observed& observed) {
                    observed.tensor.values[(2 * 12 + 5) * 8 + 3] = 7;  // (b0,h2,t5,d3)
                  }));
  const NumericsResult result =
      verify_numerics(golden.reader(), subject, {.command = "assay verify g.h5"});
  const auto& block = result.first_divergence;
  BOOST_REQUIRE(block.size() >= 4u);
  BOOST_TEST(block[0].starts_with("FAIL /layers/1/attn/q [2,4,12,8] float64  1 of 768 outside"),
             block[0]);
  BOOST_TEST(block[1].find("first at (b0,h2,t5,d3)") != std::string::npos, block[1]);
  BOOST_TEST(block[1].ends_with("candidate 7"), block[1]);
  BOOST_TEST(block[2] == "     all at b0, h2, t5, d3");
  BOOST_TEST(
      block[3].find("earlier checkpoints pass: the fault is inside this node") != std::string::npos,
      block[3]);
  BOOST_TEST(block.back() == "     again: assay verify g.h5 --only /layers/1/attn/q");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace
}  // namespace assay::verify::testing
