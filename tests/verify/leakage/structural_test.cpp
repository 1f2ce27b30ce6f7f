#include "verify/leakage/structural.h"

#include <boost/test/unit_test.hpp>

#include "reference/graph/op.h"
#include "reference/methods/registry.h"
#include "reference/ops/add.h"
#include "reference/ops/attend.h"
#include "reference/ops/embedding.h"
#include "reference/ops/linear.h"
#include "reference/ops/mask.h"
#include "reference/ops/scores.h"
#include "reference/ops/softmax.h"
#include "reference/ops/split_heads.h"
#include "tests/reference/models.h"

namespace {

using namespace assay;
using reference::Graph;
using reference::Node;
using verify::Status;

constexpr int64_t kB = 2, kT = 5, kD = 4, kV = 7;

struct Inputs {
  Node tokens, mask, labels, x;
};

Inputs make_inputs(Graph& graph) {
  const Node tokens = graph.input("tokens", {kB, kT}, "BT");
  const Node mask = graph.input("attention_mask", {kB, kT}, "BT");
  const Node labels = graph.input("labels", {kB, kT}, "BT");
  const Node x = graph.name(embedding(tokens, graph.weight("table", {kV, kD})), "embed");
  return {tokens, mask, labels, x};
}

// Each row of a batch gets the next one's.
class NextRow final : public reference::Computed<NextRow> {
 public:
  std::string name() const override { return "next_row"; }
  reference::Operand result(std::span<const reference::Operand> in) const override { return in[0]; }
  template <class A>
  void compute(std::span<const A> in, A& out) const {
    const int64_t size = golden::element_count(out.shape()), row = size / out.shape()[0];
    for (int64_t i = 0; i < size; ++i) out.data()[i] = in[0].data()[(i + row) % size];
  }
  void gradient(std::span<const reference::Array>, const reference::Array&, const reference::Array&,
                std::span<reference::Array>) const override {
    throw reference::NotDifferentiable("next_row");
  }
  void dependence(std::span<const reference::Relation> in,
                  reference::Relation& out) const override {
    const int64_t row = out.cells() / out.cell_shape()[0];
    for (int64_t cell = 0; cell < out.cells(); ++cell) {
      out.unite(cell, in[0], (cell + row) % out.cells());
    }
  }
  void error(const reference::ErrorModel&, std::span<const reference::Array>,
             std::span<const reference::Array>, const reference::Array&,
             reference::Array&) const override {}
  double flops(std::span<const reference::Operand>, const reference::Operand&) const override {
    return 0;
  }
};

Node logits_of(Graph& graph, Node x) {
  return graph.name(linear(x, graph.weight("head", {kV, kD})), "logits");
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_method_is_causal_in_every_row_of_a_batch) {
  for (const golden::ModelConfig& config : reference::testing::every_method()) {
    const auto graph = reference::build_model(config, 2, 9);
    const verify::ProofResult proof = verify::prove_causality(*graph);
    BOOST_TEST((proof.check.status == Status::pass), reference::testing::title(config)
                                                         << ": " << proof.check.summary);
    BOOST_TEST(proof.cells > 1000);
  }
}

// One attention without a mask: found at its softmax, with the operation, the pair and a way back
// to the token.
BOOST_AUTO_TEST_CASE(an_unmasked_softmax_is_named_with_operation_pair_and_witness) {
  Graph graph;
  const Inputs in = make_inputs(graph);
  const Node q = split_heads(in.x, 2, 'H');
  const Node probs = graph.name(softmax(attention_scores(q, split_heads(in.x, 2, 'G'))), "probs");
  logits_of(graph, in.x + attend(probs, split_heads(in.x, 2, 'G')));
  const verify::ProofResult proof = verify::prove_causality(graph);
  BOOST_TEST((proof.check.status == Status::fail));
  BOOST_TEST(proof.first.node == "probs");
  BOOST_TEST(proof.first.op == "softmax");
  BOOST_TEST(proof.first.input == "tokens");
  BOOST_TEST(proof.first.t == 0);
  BOOST_TEST(proof.first.s == 1);
  BOOST_TEST(proof.witness.front() == "probs[t=0,s=0]");
  BOOST_TEST(proof.witness.back() == "tokens[0,1]");
}

// The same attention, masked: nothing to find.
BOOST_AUTO_TEST_CASE(the_same_attention_with_a_mask_is_accepted) {
  Graph graph;
  const Inputs in = make_inputs(graph);
  const Node scores = attention_scores(split_heads(in.x, 2, 'H'), split_heads(in.x, 2, 'G'));
  const Node probs = softmax(causal_mask(scores, in.mask));
  logits_of(graph, in.x + attend(probs, split_heads(in.x, 2, 'G')));
  const verify::ProofResult proof = verify::prove_causality(graph);
  BOOST_TEST((proof.check.status == Status::pass), proof.check.summary);
}

// The allowed relation is an input: what is causal is no longer allowed when nobody may see further
// back than one position.
BOOST_AUTO_TEST_CASE(a_narrower_allowed_relation_is_respected) {
  Graph graph;
  const Inputs in = make_inputs(graph);
  const Node scores = attention_scores(split_heads(in.x, 2, 'H'), split_heads(in.x, 2, 'G'));
  const Node probs = graph.name(softmax(causal_mask(scores, in.mask)), "probs");
  logits_of(graph, attend(probs, split_heads(in.x, 2, 'G')));
  const verify::ProofResult proof =
      verify::prove_causality(graph, [](int64_t t, int64_t s) { return s <= t && s > t - 2; });
  BOOST_TEST(proof.leaks);
  BOOST_TEST(proof.first.node == "probs");
  BOOST_TEST(proof.first.t == 2);
  BOOST_TEST(proof.first.s == 0);
}

// No position sees its future here; only the row is wrong.
BOOST_AUTO_TEST_CASE(a_row_that_reads_another_row_is_named_as_cross_talk) {
  Graph graph;
  const Inputs in = make_inputs(graph);
  logits_of(graph, in.x + graph.name(graph.add(std::make_shared<NextRow>(), {in.x}), "swapped"));
  const verify::ProofResult proof = verify::prove_causality(graph);
  BOOST_TEST((proof.check.status == Status::fail));
  BOOST_TEST(proof.check.summary == "cross-talk at swapped (next_row): row 0 sees tokens of row 1");
}

BOOST_AUTO_TEST_CASE(labels_that_reach_the_logits_are_a_leak) {
  Graph graph;
  const Inputs in = make_inputs(graph);
  const Node from_labels = embedding(in.labels, graph.weight("table", {kV, kD}));
  logits_of(graph, in.x + from_labels);
  const verify::ProofResult proof = verify::prove_causality(graph);
  BOOST_TEST(proof.leaks);
  BOOST_TEST(proof.first.input == "labels");
}

BOOST_AUTO_TEST_CASE(logits_that_ignore_the_tokens_are_not_proven_anything) {
  Graph graph;
  make_inputs(graph);
  const Node constant =
      embedding(graph.input("fixed", {kB, kT}, "BT"), graph.weight("table", {kV, kD}));
  logits_of(graph, constant);
  const verify::ProofResult proof = verify::prove_causality(graph);
  BOOST_TEST((proof.check.status == Status::inconclusive));
}
