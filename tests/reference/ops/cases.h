// Every operation with small ragged operands: the table that the tests of all interpreters walk.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "reference/graph/graph.h"
#include "reference/graph/op.h"
#include "reference/numbers/relation.h"
#include "tests/reference/ops/float_twins.h"

namespace assay::reference::testing {

enum class Kind {
  real,       // an activation: has cells, carries an error, differentiable
  parameter,  // no cells, carries an error where a type does not hold it, differentiable
  whole,      // whole numbers: has cells, exact, not differentiable
};

struct OperandCase {
  Kind kind = Kind::real;
  Shape shape;
  std::string axes;
  // The element that u, uniform in (-1, 1), becomes; 2u without one.
  std::function<double(double u)> element = nullptr;
  // What the cell at an index of the cells is known to be; variable without one.
  std::function<Relation::Cell(const std::vector<int64_t>& index)> cell = nullptr;
};

struct OpCase {
  std::string file;  // "linear" for reference/ops/linear.cpp
  std::string what;  // "linear", "rope, scaled frequencies"
  std::vector<OperandCase> operands;
  std::function<Node(const std::vector<Node>& operands)> build;
  // Of degree <= 2 in all operands together: central differences of any step are exact.
  bool quadratic = false;
  bool moves_only = false;         // no arithmetic, so no rounding
  FloatTwin float_twin = nullptr;  // the operation in float arithmetic
  bool constant = false;           // its derivative is 0 by definition, whatever its values do
  bool leading_part = false;       // the last operand may be longer: its leading part is read
  int64_t used = 0;                // an element of each operand that the result has a trace of
};

const std::vector<OpCase>& op_cases();
std::vector<OpCase> window_cases();  // those of dynamic windows, which op_cases() has too

}  // namespace assay::reference::testing
