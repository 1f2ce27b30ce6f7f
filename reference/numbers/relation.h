// A dependence relation: for each cell of a tensor (its elements with feature axes folded together)
// the set of source elements that it can depend on.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "golden/contract/tensor.h"

namespace assay::reference {

class Relation {
 public:
  // variable: any value. zero: 0 whatever the sources hold. excluded: -inf, not part of a softmax.
  enum class Cell : uint8_t { variable, zero, excluded };

  Relation() = default;
  // `axes` and `shape` are the tensor's; every cell starts as variable with no source.
  Relation(const golden::Shape& shape, const std::string& axes, int64_t sources);

  const golden::Shape& cell_shape() const { return cell_shape_; }
  const std::string& cell_axes() const { return cell_axes_; }
  int64_t cells() const { return cells_; }
  int64_t sources() const { return sources_; }

  bool depends(int64_t cell, int64_t source) const;
  void add_source(int64_t cell, int64_t source);
  void unite(int64_t cell, const Relation& other, int64_t other_cell);  // cell |= other_cell
  Cell kind(int64_t cell) const { return kinds_[static_cast<std::size_t>(cell)]; }
  void set_kind(int64_t cell, Cell kind) { kinds_[static_cast<std::size_t>(cell)] = kind; }
  std::vector<int64_t> sources_of(int64_t cell) const;
  // The same as bits: bit i % 64 of word i / 64 is source i.
  std::span<const uint64_t> source_bits(int64_t cell) const {
    return {bits_.data() + cell * words_, static_cast<std::size_t>(words_)};
  }

 private:
  golden::Shape cell_shape_;
  std::string cell_axes_;
  int64_t cells_ = 0;
  int64_t sources_ = 0;
  int64_t words_ = 0;
  std::vector<uint64_t> bits_;
  std::vector<Cell> kinds_;
};

// out's cell depends on whatever the same cell of each operand does; parameters (no cells) have no
// part.
void unite_cellwise(std::span<const Relation> in, Relation& out);

}  // namespace assay::reference
