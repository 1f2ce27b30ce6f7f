// Axes of a tensor by name, as a map writes them: "B T (H Dh) -> B H T Dh". On the left are the
// axes of a tensor in a dump, on the right those of ours. A group in brackets is one axis made of
// several, the last of them fastest; with "+" it is several laid side by side.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/names.h"

namespace assay::golden {

// One axis: a name, or a group.
struct Axis {
  std::string name;                      // "Dh", "1"; "" for a group
  std::vector<std::vector<Axis>> terms;  // of a group: each a product, summed

  bool is_group() const { return name.empty(); }
  bool is_sum() const { return terms.size() > 1; }
};

struct AxisPattern {
  std::vector<Axis> left, right;
};

// Throws InputError beginning with `where` for what is no such pattern, with the place of it.
AxisPattern parse_axes(const std::string& text, const std::string& where);

// What a shape of docs/tensors.md, "B,H,T,T" or "B,T,H*Dh", is as axes; the second T is S.
std::vector<Axis> axes_of_shape(const std::string& extents);

// The axes of a tensor of ours; axis0, axis1, .. where its meaning has no such shape.
std::vector<Axis> axes_of(const ModelConfig& config, const TensorInfo& info);

// Names of all axes in order, of a sum those of the term chosen; groups are opened.
std::vector<std::string> names_in(const std::vector<Axis>& axes, std::size_t chosen);

std::string axes_text(const std::vector<Axis>& axes);  // as it is parsed

}  // namespace assay::golden
