// An operation of the table of cases, with operands drawn for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/reference/ops/cases.h"

namespace assay::reference::testing {

// An operation of the table with its operands' shapes, ready to be called.
class Bench {
 public:
  explicit Bench(const OpCase& op_case);

  const Op& op() const { return *op_; }
  const Operand& result() const { return result_; }

  std::vector<Array> draw(uint64_t seed) const;
  Array value(const std::vector<Array>& operands) const;
  Relation::Cell cell_kind(std::size_t operand, const Relation& relation, int64_t cell) const;

 private:
  const OpCase& case_;
  std::shared_ptr<const Op> op_;
  Operand result_;
};

// The cell that an element of a tensor belongs to: its index without the feature axes.
int64_t cell_of(const Shape& shape, const std::string& axes, int64_t element);

// A copy with storage of its own.
Array copy(const Array& array);

}  // namespace assay::reference::testing
