#include "verify/decoders/common.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

namespace assay::verify {
namespace {

using golden::Shape;

// Where the block of `other` with that index begins in `base`; -1: it is not there.
class Place {
 public:
  Place(const Recording& base, std::size_t index, const Within& within)
      : within_(within),
        layout_(base.layout(index)),
        shape_(base.tensor(index).tensor.shape),
        batch_(base.batch()),
        positions_(base.positions()),
        strides_(shape_.size(), 1) {
    for (std::size_t axis = shape_.size(); axis-- > 1;) {
      strides_[axis - 1] = strides_[axis] * shape_[axis];
    }
  }

  int64_t row_of(int64_t row) const {
    return row < 0 ? 0
           : row < static_cast<int64_t>(within_.rows.size())
               ? within_.rows[static_cast<std::size_t>(row)]
               : -1;
  }

  int64_t offset(const Block& block) const {
    const int64_t row = row_of(block.row);
    if (row < 0) return -1;
    int64_t at = 0;
    for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
      int64_t i = (*block.index)[axis];
      switch (layout_.axes[axis]) {
        case 'B':
          i = row;
          break;
        case 'T':
          i += within_.shift;
          break;
        case 'F':
          i = row * positions_ + block.position + within_.shift;
          break;
        case 'f':
          i = (block.position + within_.shift) * batch_ + row;
          break;
        default:
          break;
      }
      if (i >= shape_[axis]) return -1;
      at += i * strides_[axis];
    }
    return at;
  }

 private:
  const Within& within_;
  const Layout& layout_;
  const Shape& shape_;
  int64_t batch_, positions_;
  std::vector<int64_t> strides_;
};

bool is_comparable(const Recording& base, std::size_t i, const Recording& other, std::size_t j,
                   const Within& within) {
  const Layout& layout = base.layout(i);
  const golden::DType dtype = base.tensor(i).dtype;
  const Shape &a = base.tensor(i).tensor.shape, &b = other.tensor(j).tensor.shape;
  if (!layout.has_positions() || layout.slack > 0 || a.size() != b.size()) return false;
  const bool is_whole = dtype == golden::DType::int32 || dtype == golden::DType::uint8;
  if (is_whole && !within.whole_numbers) return false;
  if (other.layout(j).axes != layout.axes) return false;
  const bool pairs = layout.axes.find('T') != layout.axes.rfind('T');
  if (pairs && within.shift > 0) return false;
  for (std::size_t axis = 0; axis < a.size(); ++axis) {
    const bool goes_with_batch = std::strchr("BTSFf", layout.axes[axis]) != nullptr;
    if (!goes_with_batch && a[axis] != b[axis]) return false;
  }
  return true;
}

// A run that hands over its last position and no other.
bool has_last_alone(const Layout& layout, const Shape& shape, int64_t positions) {
  const std::size_t axis = layout.axes.find('T');
  return axis < shape.size() && shape[axis] == 1 && positions > 1;
}

struct Cell {
  double difference = 0, largest = 0;
  bool bits = false;
};

}  // namespace

std::size_t index_of(const Recording& recording, const std::string& name) {
  for (std::size_t i = 0; i < recording.tensors(); ++i) {
    if (recording.name(i) == name) return i;
  }
  return recording.tensors();
}

Within same_rows(int64_t rows) {
  Within within;
  within.rows.resize(static_cast<std::size_t>(rows));
  std::iota(within.rows.begin(), within.rows.end(), int64_t{0});
  return within;
}

std::vector<Apart> positions_apart(const Recording& base, const Recording& other,
                                   const Within& within) {
  std::vector<Apart> list;
  for (std::size_t i = 0; i < base.tensors(); ++i) {
    const std::size_t j = index_of(other, base.name(i));
    if (j == other.tensors() || !is_comparable(base, i, other, j, within)) continue;
    const std::vector<double>& a = base.tensor(i).tensor.values;
    const std::vector<double>& b = other.tensor(j).tensor.values;
    const double rms = rms_of(a);
    const Shape& shape = other.tensor(j).tensor.shape;
    Within mine_within = within;
    if (within.last_alone && has_last_alone(base.layout(i), shape, other.positions())) {
      mine_within.shift += other.positions() - 1;
    }
    const Place place(base, i, mine_within);
    std::map<std::pair<int64_t, int64_t>, Cell> cells;  // by position and row
    for_blocks(base.layout(i), shape, other.batch(), other.positions(), [&](const Block& block) {
      const int64_t at = place.offset(block);
      if (at < 0) return;
      Cell& cell = cells[{block.position + mine_within.shift, place.row_of(block.row)}];
      const double* mine = a.data() + at;
      const double* theirs = b.data() + block.offset;
      const auto bytes = static_cast<std::size_t>(block.count) * sizeof(double);
      cell.bits = cell.bits || std::memcmp(mine, theirs, bytes) != 0;
      for (int64_t k = 0; k < block.count; ++k) {
        cell.difference = std::max(cell.difference, distance(mine[k], theirs[k]));
        if (std::isfinite(mine[k])) cell.largest = std::max(cell.largest, std::abs(mine[k]));
      }
    });
    for (const auto& [where, cell] : cells) {
      const double scale = std::max(cell.largest, rms);
      const double size = cell.difference == 0 ? 0 : scale > 0 ? cell.difference / scale : INFINITY;
      list.push_back({i, where.second, where.first, cell.difference, size, cell.bits});
    }
  }
  return list;
}

}  // namespace assay::verify
