// The dependence rule of every operation against what its values do.
//
// A cell of an operand is redrawn; every element of the result whose bits change has to be in the
// relation (sound), and over many draws every pair of the relation has to be seen (tight), so that
// a rule that says "everything depends on everything" fails too.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <set>

#include "reference/ops/scale.h"
#include "tests/reference/ops/bench.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {
namespace {

constexpr uint64_t kDraws = 24;

struct Source {
  std::size_t operand;
  int64_t cell;
};

// One source for every variable cell of every operand that has cells.
struct Setup {
  std::vector<Source> sources;
  std::vector<Relation> in;
  Relation out;
};

Setup set_up(const OpCase& op_case, const Bench& bench) {
  Setup setup;
  const auto variable_cells = [&](auto&& body) {
    for (std::size_t i = 0; i < op_case.operands.size(); ++i) {
      const OperandCase& operand = op_case.operands[i];
      const Relation relation(operand.shape, operand.axes, 1);
      for (int64_t cell = 0; operand.kind != Kind::parameter && cell < relation.cells(); ++cell) {
        const Relation::Cell kind = bench.cell_kind(i, relation, cell);
        body(i, cell, kind);
      }
    }
  };
  variable_cells([&](std::size_t operand, int64_t cell, Relation::Cell kind) {
    if (kind == Relation::Cell::variable) setup.sources.push_back({operand, cell});
  });
  const auto count = static_cast<int64_t>(setup.sources.size());
  for (const OperandCase& operand : op_case.operands) {
    setup.in.emplace_back(operand.shape, operand.axes, count);
  }
  variable_cells([&](std::size_t operand, int64_t cell, Relation::Cell kind) {
    setup.in[operand].set_kind(cell, kind);
  });
  for (int64_t source = 0; source < count; ++source) {
    const Source& at = setup.sources[static_cast<std::size_t>(source)];
    setup.in[at.operand].add_source(at.cell, source);
  }
  setup.out = Relation(bench.result().shape, bench.result().axes, count);
  bench.op().dependence(setup.in, setup.out);
  return setup;
}

// `operands` with one cell taken from `others`.
std::vector<Array> redrawn(const OpCase& op_case, const std::vector<Array>& operands,
                           const std::vector<Array>& others, const Source& source) {
  std::vector<Array> result = operands;
  const OperandCase& operand = op_case.operands[source.operand];
  Array& array = result[source.operand] = copy(operands[source.operand]);
  for (int64_t element = 0; element < array.size(); ++element) {
    if (cell_of(operand.shape, operand.axes, element) == source.cell) {
      array.data()[element] = others[source.operand].data()[element];
    }
  }
  return result;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(dependence)

BOOST_AUTO_TEST_CASE(the_relation_is_sound_and_tight) {
  for (const OpCase& op_case : op_cases()) {
    const Bench bench(op_case);
    const Setup setup = set_up(op_case, bench);
    BOOST_TEST_CONTEXT(op_case.what) {
      std::set<std::pair<int64_t, int64_t>> seen;  // cell of the result, source
      for (uint64_t seed = 0; seed < kDraws; ++seed) {
        const std::vector<Array> operands = bench.draw(seed), others = bench.draw(seed + kDraws);
        const Array before = bench.value(operands);
        for (std::size_t source = 0; source < setup.sources.size(); ++source) {
          const Array after =
              bench.value(redrawn(op_case, operands, others, setup.sources[source]));
          for (int64_t i = 0; i < before.size(); ++i) {
            if (before.data()[i] == after.data()[i]) continue;
            seen.insert({cell_of(bench.result().shape, bench.result().axes, i),
                         static_cast<int64_t>(source)});
          }
        }
      }
      int64_t unsound = 0, loose = 0, pairs = 0;
      for (int64_t cell = 0; cell < setup.out.cells(); ++cell) {
        for (int64_t source = 0; source < setup.out.sources(); ++source) {
          const bool stated =
              setup.out.kind(cell) == Relation::Cell::variable && setup.out.depends(cell, source);
          pairs += stated;
          unsound += seen.contains({cell, source}) && !stated;
          loose += stated && !seen.contains({cell, source});
        }
      }
      if (!setup.sources.empty()) BOOST_TEST(pairs > 0);  // else it works on parameters alone
      BOOST_TEST(unsound == 0);
      BOOST_TEST(loose == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(constant_cells_hold_their_constant) {
  int64_t constants = 0;
  for (const OpCase& op_case : op_cases()) {
    const Bench bench(op_case);
    const Setup setup = set_up(op_case, bench);
    for (uint64_t seed = 0; seed < kDraws; ++seed) {
      const Array out = bench.value(bench.draw(seed));
      for (int64_t i = 0; i < out.size(); ++i) {
        const auto kind = setup.out.kind(cell_of(bench.result().shape, bench.result().axes, i));
        if (kind == Relation::Cell::variable) continue;
        ++constants;
        BOOST_REQUIRE(out.data()[i] == (kind == Relation::Cell::zero ? 0 : -INFINITY));
      }
    }
  }
  BOOST_TEST(constants > 0);
}

// What no case of the table shows: an excluded score stays excluded, so 1/0 never becomes a number.
BOOST_AUTO_TEST_CASE(scaling_keeps_what_a_cell_is_known_to_be) {
  Graph graph;
  const Node x = graph.input("x", {1, 1, 1, 3}, "BHTS");
  const Node y = scale(x, 0.5);
  Relation in({1, 1, 1, 3}, "BHTS", 1), out({1, 1, 1, 3}, "BHTS", 1);
  in.set_kind(1, Relation::Cell::excluded);
  in.set_kind(2, Relation::Cell::zero);
  const std::vector<Relation> operands{in};
  y.data().op->dependence(operands, out);
  BOOST_TEST((out.kind(0) == Relation::Cell::variable));
  BOOST_TEST((out.kind(1) == Relation::Cell::excluded));
  BOOST_TEST((out.kind(2) == Relation::Cell::zero));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
