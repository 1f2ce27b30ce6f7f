// The kernels' dependences against those of the reference's graph, derived from rules of its own:
// what a method may look at and what its implementation does look at are the same, element by
// element.
#include <boost/test/unit_test.hpp>

#include "dependence_judge.h"
#include "reference/interpreters/dependence.h"
#include "reference/methods/registry.h"
#include "tests/reference/prob_transformer/variants.h"

using namespace assay;
using dependences::Tokens;
using golden::ModelConfig;

namespace {

constexpr int64_t kB = 2, kT = 6;

// The cell that an element belongs to: cells have no feature axes.
int64_t cell_of(const golden::TensorInfo& info, const reference::Relation& relation,
                int64_t element) {
  int64_t cell = 0, stride = 1;
  std::size_t axis = relation.cell_axes().size();
  for (std::size_t i = info.shape.size(); i-- > 0; element /= info.shape[i]) {
    if (axis == 0 || info.axes[i] != relation.cell_axes()[axis - 1]) continue;
    cell += element % info.shape[i] * stride;
    stride *= info.shape[i];
    --axis;
  }
  BOOST_REQUIRE_EQUAL(axis, 0u);
  return cell;
}

struct Counts {
  int64_t elements = 0, dependences = 0, differences = 0;
};

Counts compare(const golden::TensorInfo& info, const reference::Relation& relation,
               std::span<const simt::SourceSet> traced) {
  Counts counts;
  for (std::size_t i = 0; i < traced.size(); ++i) {
    const int64_t cell = cell_of(info, relation, static_cast<int64_t>(i));
    ++counts.elements;
    for (int source = 0; source < kB * kT; ++source) {
      counts.dependences += traced[i].contains(source);
      counts.differences += traced[i].contains(source) != relation.depends(cell, source);
    }
  }
  return counts;
}

void check(const ModelConfig& config) {
  const auto graph = reference::build_model(config, kB, kT);
  const reference::Sources sources = reference::make_sources(*graph, {"tokens"});
  const std::vector<reference::Relation> relations = reference::dependences(*graph, sources);
  const Tokens tokens(kB, kT, 0);
  Counts total;
  cuda::trace_dependences(
      config, golden::SyntheticWeights(config, 7), tokens.view(),
      [&](const golden::TensorInfo& info, std::span<const double>, const auto& traced) {
        const int node = graph->find(info.name);
        BOOST_REQUIRE_MESSAGE(node >= 0, info.name);
        const Counts counts = compare(info, relations[static_cast<std::size_t>(node)], traced);
        BOOST_TEST(counts.differences == 0, dependences::text_of(config)
                                                << " " << info.name << ": " << counts.differences);
        total.elements += counts.elements;
        total.dependences += counts.dependences;
      });
  BOOST_TEST(total.dependences > total.elements);
}

}  // namespace

BOOST_AUTO_TEST_CASE(kernels_look_at_what_the_graph_looks_at) {
  for (const golden::MethodInfo& method : golden::methods()) {
    if (method.family == golden::Family::prob_transformer) continue;
    check(dependences::tiny(method.id, 3));
    check(dependences::tiny_gpt2(method.id, golden::NormPosition::pre, 3));
    check(dependences::tiny_gpt2(method.id, golden::NormPosition::post, 3));
  }
}

// Heads on one side or on both, every message and schedule.
BOOST_AUTO_TEST_CASE(kernels_of_the_probabilistic_transformer_do_too) {
  for (const auto& [title, config] : reference::testing::pt_all_variants()) {
    BOOST_TEST_INFO_SCOPE(title);
    check(config);
  }
}
