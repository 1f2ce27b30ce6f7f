// Where the rows and positions of a batch stand in a tensor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "golden/contract/tensor.h"

namespace assay::verify {

// One letter for each axis of a tensor: B rows, T positions, S keys, F rows and positions in one
// axis, row by row, f the same, position by position; any other letter: something else. With
// several T, as scores [T,T] that nothing masked have, an element belongs to the latest of the
// positions that it is made of.
struct Layout {
  std::string axes = {};  // "": not known, or a tensor without positions
  int64_t first = 0;      // the position that index 0 on a T axis stands for
  // An axis that is no T long may begin this much later: what it sees of that is no leak for sure.
  int64_t slack = 0;

  bool has(char letter) const { return axes.find(letter) != std::string::npos; }
  bool has_positions() const { return has('T') || has('F') || has('f'); }
  bool has_rows() const { return has('B') || has('F') || has('f'); }
};

using Layouts = std::function<Layout(const std::string& name, const golden::Shape& shape)>;

// A run of elements that lie side by side and belong to one position of one row.
struct Block {
  int64_t row = 0;  // -1: of every row, the tensor does not tell them apart
  int64_t position = 0;
  int64_t offset = 0, count = 0;                // of elements
  const std::vector<int64_t>* index = nullptr;  // on each axis; 0 behind the last one with a letter
};

// Axes up to the last one that says where an element belongs.
inline std::size_t leading_axes(const Layout& layout) {
  const std::size_t last = layout.axes.find_last_of("BTSFf");
  return last == std::string::npos ? 0 : last + 1;
}

// Row and position of an index.
inline void place(const Layout& layout, int64_t batch, int64_t positions, Block& block) {
  block.row = -1;
  block.position = -1;
  for (std::size_t axis = 0; axis < layout.axes.size(); ++axis) {
    const int64_t i = (*block.index)[axis];
    switch (layout.axes[axis]) {
      case 'B':
        block.row = i;
        break;
      case 'T':
        block.position = std::max(block.position, i + layout.first);
        break;
      case 'F':
        block.row = i / positions;
        block.position = i % positions;
        break;
      case 'f':
        block.row = i % batch;
        block.position = i / batch;
        break;
      default:
        break;
    }
  }
}

// Calls visit(block) for every block of a tensor with positions, in memory's order, those excepted
// that belong to a position behind the last one. What stands before the first belongs to it.
template <class Visit>
void for_blocks(const Layout& layout, const golden::Shape& shape, int64_t batch, int64_t positions,
                Visit&& visit) {
  const std::size_t leading = leading_axes(layout);
  Block block{.count = 1};
  int64_t blocks = 1;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    (axis < leading ? blocks : block.count) *= shape[axis];
  }
  std::vector<int64_t> index(shape.size(), 0);
  block.index = &index;
  for (int64_t i = 0; i < blocks && block.count > 0; ++i, block.offset += block.count) {
    place(layout, batch, positions, block);
    block.position = std::max<int64_t>(block.position, 0);
    if (block.position < positions && block.row < batch) visit(static_cast<const Block&>(block));
    for (std::size_t axis = leading; axis-- > 0;) {
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
}

}  // namespace assay::verify
