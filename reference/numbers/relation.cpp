#include "reference/numbers/relation.h"

#include <bit>

#include "golden/contract/error.h"

namespace assay::reference {

Relation::Relation(const golden::Shape& shape, const std::string& axes, int64_t sources)
    : sources_(sources), words_((sources + 63) / 64) {
  ASSAY_CHECK(shape.size() == axes.size(), golden::shape_text(shape) + " " + axes);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] == 'D') continue;
    cell_shape_.push_back(shape[i]);
    cell_axes_.push_back(axes[i]);
  }
  cells_ = golden::element_count(cell_shape_);
  bits_.assign(static_cast<std::size_t>(cells_ * words_), 0);
  kinds_.assign(static_cast<std::size_t>(cells_), Cell::variable);
}

bool Relation::depends(int64_t cell, int64_t source) const {
  return bits_[static_cast<std::size_t>(cell * words_ + source / 64)] >> (source % 64) & 1;
}

void Relation::add_source(int64_t cell, int64_t source) {
  bits_[static_cast<std::size_t>(cell * words_ + source / 64)] |= uint64_t{1} << (source % 64);
}

void Relation::unite(int64_t cell, const Relation& other, int64_t other_cell) {
  const uint64_t* from = other.bits_.data() + other_cell * words_;
  uint64_t* to = bits_.data() + cell * words_;
  for (int64_t w = 0; w < words_; ++w) to[w] |= from[w];
}

std::vector<int64_t> Relation::sources_of(int64_t cell) const {
  std::vector<int64_t> list;
  int64_t first = 0;
  for (uint64_t word : source_bits(cell)) {
    for (; word != 0; word &= word - 1) list.push_back(first + std::countr_zero(word));
    first += 64;
  }
  return list;
}

void unite_cellwise(std::span<const Relation> in, Relation& out) {
  for (const Relation& operand : in) {
    if (operand.cell_axes().empty()) continue;  // a parameter: no cells of its own
    ASSAY_CHECK(operand.cells() == out.cells(), operand.cell_axes() + " and " + out.cell_axes());
    for (int64_t cell = 0; cell < out.cells(); ++cell) out.unite(cell, operand, cell);
  }
}

}  // namespace assay::reference
