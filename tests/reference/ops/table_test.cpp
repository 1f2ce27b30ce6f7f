// The table of operations has no hole, and each operation's shape and value rules hold together.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <set>
#include <sstream>

#include "golden/contract/error.h"
#include "tests/reference/ops/bench.h"
#include "tests/reference/random.h"

namespace assay::reference::testing {

BOOST_AUTO_TEST_SUITE(table)

// rules.cpp and multiply.cpp hold what the rules are written with; every other file of
// reference/ops is an operation.
BOOST_AUTO_TEST_CASE(every_file_of_reference_ops_has_a_case) {
  std::set<std::string> files, covered;
  std::istringstream list(ASSAY_OP_FILES);
  for (std::string file; list >> file;) files.insert(file.substr(0, file.rfind(".cpp")));
  files.erase("rules");
  files.erase("multiply");
  for (const OpCase& op_case : op_cases()) covered.insert(op_case.file);
  BOOST_TEST(files.size() > 0u);
  BOOST_TEST(files == covered, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_value_is_a_function_of_its_operands_and_leaves_them_alone) {
  for (const OpCase& op_case : op_cases()) {
    BOOST_TEST_CONTEXT(op_case.what) {
      const Bench bench(op_case);
      BOOST_TEST(bench.result().shape.size() == bench.result().axes.size());
      const std::vector<Array> operands = bench.draw(1);
      std::vector<Array> before;
      for (const Array& operand : operands) before.push_back(copy(operand));
      const Array first = bench.value(operands), second = bench.value(operands);
      BOOST_TEST(first.shape() == bench.result().shape, boost::test_tools::per_element());
      BOOST_TEST(same_bits(first.values(), second.values()));
      for (std::size_t i = 0; i < operands.size(); ++i) {
        BOOST_TEST(same_bits(operands[i].values(), before[i].values()));
      }
    }
  }
}

// A NaN that goes in comes out: nothing selects it away, or turns it into a number.
BOOST_AUTO_TEST_CASE(a_nan_in_an_activation_reaches_the_result) {
  for (const OpCase& op_case : op_cases()) {
    const Bench bench(op_case);
    for (std::size_t i = 0; i < op_case.operands.size(); ++i) {
      if (op_case.operands[i].kind != Kind::real) continue;
      BOOST_TEST_CONTEXT(op_case.what << ", operand " << i) {
        std::vector<Array> operands = bench.draw(2);
        operands[i].data()[op_case.used] = std::nan("");
        const Array out = bench.value(operands);
        bool found = false;
        for (const double y : out.values()) found = found || std::isnan(y);
        BOOST_TEST(found);
      }
    }
  }
}

// The value interpreter hands over a first operand that nobody else holds.
BOOST_AUTO_TEST_CASE(operations_in_place_give_the_same_bits_over_their_operand) {
  int in_place = 0;
  for (const OpCase& op_case : op_cases()) {
    const Bench bench(op_case);
    if (!bench.op().in_place()) continue;
    BOOST_TEST_CONTEXT(op_case.what) {
      const Array apart = bench.value(bench.draw(3));
      const std::vector<Array> operands = bench.draw(3);
      Array over = operands[0];
      bench.op().value(operands, over);
      BOOST_TEST((over.shape() == apart.shape()));
      BOOST_TEST(same_bits(over.values(), apart.values()));
    }
    ++in_place;
  }
  BOOST_TEST(in_place > 0);
}

// One operand with every extent one larger never fits the others; one alone has nothing to fit.
BOOST_AUTO_TEST_CASE(operands_that_do_not_fit_are_refused_by_the_operations_name) {
  for (const OpCase& op_case : op_cases()) {
    if (op_case.operands.size() < 2 || op_case.leading_part || op_case.file == "embedding") {
      continue;
    }
    BOOST_TEST_CONTEXT(op_case.what) {
      const Bench bench(op_case);
      std::vector<Operand> operands;
      for (const OperandCase& operand : op_case.operands) {
        operands.push_back({operand.shape, operand.axes});
      }
      for (int64_t& extent : operands.back().shape) ++extent;
      BOOST_CHECK_EXCEPTION(bench.op().result(operands), InputError, [&](const InputError& e) {
        return std::string(e.what()).starts_with(bench.op().name() + ": ");
      });
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::reference::testing
