// Which axis of a tensor has the positions: found by running batches of other shapes, or given.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "verify/leakage/recording.h"

namespace assay::verify {

// What somebody said of tensors: "attn/probs=2", "probs=-2:0", "scores=2,3", "stats=none".
struct GivenAxis {
  std::string pattern;
  std::optional<int> axis;       // negative: from behind; empty: the tensor has no positions
  std::optional<int> second;     // an element belongs to the later of its two positions
  std::optional<int64_t> first;  // the position of index 0; empty: 0, or to be found
};

// Throws InputError for another form.
GivenAxis parse_given_axis(const std::string& text);

struct AxesOptions {
  std::vector<GivenAxis> given = {};      // the first whose pattern matches counts
  std::optional<int> position_axis = {};  // of every tensor that has as many axes
};

// The shapes of one tensor in runs that differ in length or rows; empty where there was no run.
struct Probed {
  int64_t batch = 0, positions = 0;
  golden::Shape shape;
  int64_t shorter_positions = 0;
  std::optional<golden::Shape> shorter;  // of a run with fewer positions
  int64_t other_batch = 0;
  std::optional<golden::Shape> wider;  // of a run with other rows
};

struct FoundAxes {
  Layout layout;
  std::string problem = {};  // why it has no positions; "" if it has
};

// Throws InputError for a given axis that the tensor does not have.
FoundAxes find_axes(const std::string& name, const Probed& probed, const AxesOptions& options);

// Of a tensor with two position axes: whether what the first may not see yet is masked out, with
// -inf or a large negative number, or is 0 as nothing else is.
bool is_masked(const Layout& layout, const golden::Tensor& tensor);

// What names and values add to what was found: a loss is not judged, unless its axis is given; of
// two position axes the second one counts keys where is_masked.
void settle_layout(const std::string& name, const golden::Tensor& tensor,
                   const AxesOptions& options, FoundAxes& found);

// "[B,T,16]"
std::string axes_text(const Layout& layout, const golden::Shape& shape);

}  // namespace assay::verify
