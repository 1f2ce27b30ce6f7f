#include "verify/recorded/readings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <set>
#include <utility>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "verify/leakage/loss_names.h"

namespace assay::verify {
namespace {

using golden::Shape;

class AxisReader {
 public:
  AxisReader(const PairedTensor& tensor, const PairedBatch& batch)
      : name_(tensor.name),
        tensor_(tensor),
        batch_(batch),
        shape_(tensor.longer.shape),
        other_(tensor.shorter.shape) {}

  bool is_misshaped() const {
    if (shape_.size() != other_.size()) return true;
    for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
      if (!is_fixed(axis) && !has_positions(axis) && !is_flat(axis)) return true;
    }
    return false;
  }

  std::vector<Layout> all() const {
    std::vector<std::size_t> axes;
    for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
      if (has_positions(axis)) axes.push_back(axis);
    }
    std::vector<Layout> list;
    if (axes.size() == 2 && is_masked_matrix(axes)) {
      add(list, {axes.front()}, {});
      for (Layout& layout : list) layout.axes[axes.back()] = 'S';
      return list;
    }
    const bool go_with_length = !one_length();
    if (!go_with_length || axes.size() == 1) {
      for (const std::size_t axis : axes) add(list, {axis}, {});
    }
    if (axes.size() > 1) add(list, axes, {});
    for (std::size_t axis = 0; axis < shape_.size(); ++axis) add_flat(list, axis);
    return list;
  }

  std::vector<Layout> given(const GivenAxis& given) const {
    std::vector<std::size_t> axes;
    for (const std::optional<int>& one : {given.axis, given.second}) {
      if (one) axes.push_back(checked(given, *one));
    }
    std::vector<Layout> list;
    if (axes.size() == 1 && !has_positions(axes.front())) add_flat(list, axes.front());
    if (list.empty()) add(list, axes, given.first);
    return list;
  }

 private:
  bool one_length() const { return batch_.positions == batch_.shorter_positions; }
  bool is_fixed(std::size_t axis) const { return shape_[axis] == other_[axis]; }
  bool has_positions(std::size_t axis) const {
    if (one_length()) return is_fixed(axis) && shape_[axis] == batch_.positions;
    return shape_[axis] - other_[axis] == batch_.positions - batch_.shorter_positions;
  }
  bool is_flat(std::size_t axis) const {
    return batch_.rows > 1 && shape_[axis] == batch_.rows * batch_.positions &&
           other_[axis] == batch_.rows * batch_.shorter_positions;
  }
  bool rows_differ() const {
    return std::set<int64_t>(batch_.shared.begin(), batch_.shared.end()).size() > 1;
  }

  std::size_t checked(const GivenAxis& given, int number) const {
    const int rank = static_cast<int>(shape_.size());
    const int axis = number < 0 ? rank + number : number;
    if (axis >= 0 && axis < rank) return static_cast<std::size_t>(axis);
    throw InputError(fmt::format("--axis {}={}: expected an axis of {} {}, which has {}",
                                 given.pattern, number, name_, golden::shape_text(shape_), rank));
  }

  bool is_masked_matrix(const std::vector<std::size_t>& axes) const {
    Layout pairs{.axes = std::string(shape_.size(), '-')};
    for (const std::size_t axis : axes) pairs.axes[axis] = 'T';
    return is_masked(pairs, tensor_.longer) || is_masked(pairs, tensor_.shorter);
  }

  // Letters of the axes beside those; none where one of them has to be chosen.
  std::optional<std::string> beside(const std::vector<std::size_t>& chosen) const {
    std::string axes(shape_.size(), '-');
    for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
      const bool is_chosen = std::find(chosen.begin(), chosen.end(), axis) != chosen.end();
      if (is_chosen || is_fixed(axis)) continue;
      if (!has_positions(axis)) return std::nullopt;
      axes[axis] = 'S';
    }
    return axes;
  }

  void add_flat(std::vector<Layout>& list, std::size_t axis) const {
    if (!is_flat(axis)) return;
    const std::optional<std::string> axes = beside({axis});
    if (!axes) return;
    for (const char letter : {'F', 'f'}) {
      list.push_back({.axes = *axes});
      list.back().axes[axis] = letter;
    }
  }

  // With every axis that may have the rows, and every position that index 0 may have.
  void add(std::vector<Layout>& list, const std::vector<std::size_t>& positions,
           std::optional<int64_t> first) const {
    std::optional<std::string> axes = beside(positions);
    if (!axes) return;
    for (const std::size_t axis : positions) (*axes)[axis] = 'T';
    std::vector<std::string> with_rows;
    for (std::size_t axis = 0; axis < shape_.size(); ++axis) {
      const bool may_be = (*axes)[axis] == '-' && shape_[axis] == batch_.rows;
      if (!may_be || (batch_.rows == 1 && axis > 0)) continue;
      if (!with_rows.empty() && !rows_differ()) continue;
      with_rows.push_back(*axes);
      with_rows.back()[axis] = 'B';
    }
    if (with_rows.empty()) with_rows.push_back(*axes);
    const int64_t more = shape_[positions.front()] - batch_.positions;
    std::set<int64_t> firsts{0, -more};
    if (first) firsts = {*first};
    for (const std::string& letters : with_rows) {
      for (const int64_t begin : firsts) list.push_back({.axes = letters, .first = begin});
    }
  }

  const std::string& name_;
  const PairedTensor& tensor_;
  const PairedBatch& batch_;
  const Shape &shape_, &other_;
};

// What was said of the tensor, if anything was.
std::optional<GivenAxis> said_of(const std::string& name, std::size_t rank,
                                 const AxesOptions& options) {
  for (const GivenAxis& given : options.given) {
    if (golden::matches(given.pattern, name)) return given;
  }
  if (!options.position_axis) return std::nullopt;
  const int axis = *options.position_axis, axes = static_cast<int>(rank);
  if (axis >= axes || axis < -axes) return std::nullopt;
  return GivenAxis{.pattern = name, .axis = axis, .second = {}, .first = {}};
}

// Whether a fiber along the position axis has one value alone: by index of the fiber's first
// element. Of a layout with one position axis; empty else.
std::vector<bool> constant_fibers(const golden::Tensor& tensor, std::size_t axis) {
  std::vector<bool> constant(tensor.values.size(), true);
  int64_t stride = 1;
  for (std::size_t k = axis + 1; k < tensor.shape.size(); ++k) stride *= tensor.shape[k];
  for (std::size_t i = 0; i < tensor.values.size(); ++i) {
    const auto at = static_cast<int64_t>(i) / stride % tensor.shape[axis];
    const std::size_t begin = i - static_cast<std::size_t>(at * stride);
    if (tensor.values[i] != tensor.values[begin]) constant[begin] = false;
  }
  for (std::size_t i = 0; i < tensor.values.size(); ++i) {
    const auto at = static_cast<int64_t>(i) / stride % tensor.shape[axis];
    constant[i] = constant[i - static_cast<std::size_t>(at * stride)];
  }
  return constant;
}

}  // namespace

Readings readings_of(const PairedTensor& tensor, const PairedBatch& batch,
                     const AxesOptions& options) {
  const auto given = said_of(tensor.name, tensor.longer.shape.size(), options);
  if (given && !given->axis) {
    return {.problem = "it is said to have no positions", .is_left_out = true};
  }
  const AxisReader axes(tensor, batch);
  if (axes.is_misshaped()) {
    const bool one_length = batch.positions == batch.shorter_positions;
    return {.problem = one_length ? "expected one shape"
                                  : "the lengths of the runs do not explain the shapes",
            .is_misshaped = true};
  }
  if (!given && tells_of_labels(tensor.name)) {
    return {.problem = "a loss may see the token that it is of; --axis NAME=AXIS judges it",
            .is_left_out = true};
  }
  Readings readings{.layouts = given ? axes.given(*given) : axes.all()};
  if (readings.layouts.empty()) {
    readings.is_left_out = golden::element_count(tensor.longer.shape) == 1;
    readings.problem = readings.is_left_out ? "a single number" : "no axis with the positions";
  }
  return readings;
}

Later later_elements(const PairedTensor& tensor, const Layout& layout, const PairedBatch& batch) {
  const std::size_t axis = layout.axes.find_first_of("TFf");
  const bool is_one = axis != std::string::npos && axis == layout.axes.find_last_of("TFf");
  std::vector<bool> constant(tensor.longer.values.size(), false);
  if (is_one) {
    constant = constant_fibers(tensor.longer, axis);
    const std::vector<bool> other = constant_fibers(tensor.shorter, axis);
    for (std::size_t i = 0; i < constant.size(); ++i) constant[i] = constant[i] && other[i];
  }
  const int64_t least = *std::min_element(batch.shared.begin(), batch.shared.end());
  Later found;
  for_blocks(layout, tensor.longer.shape, batch.rows, batch.positions, [&](const Block& block) {
    const int64_t shared =
        block.row < 0 ? least : batch.shared[static_cast<std::size_t>(block.row)];
    if (block.position < shared) return;
    for (int64_t k = block.offset; k < block.offset + block.count; ++k) {
      const auto i = static_cast<std::size_t>(k);
      const bool differs = std::bit_cast<uint64_t>(tensor.longer.values[i]) !=
                           std::bit_cast<uint64_t>(tensor.shorter.values[i]);
      const bool tells = !constant[i] && tensor.longer.values[i] != 0;
      ++(differs ? found.differing : tells ? found.same : found.silent);
    }
  });
  return found;
}

std::string axis_option(const std::string& name, const Layout& layout, bool with_first) {
  std::vector<std::size_t> axes;
  for (std::size_t axis = 0; axis < layout.axes.size(); ++axis) {
    if (layout.axes[axis] == 'T') axes.push_back(axis);
  }
  if (axes.empty()) return "";
  return fmt::format("--axis {}={}{}", name, fmt::join(axes, ","),
                     with_first ? fmt::format(":{}", layout.first) : "");
}

}  // namespace assay::verify
