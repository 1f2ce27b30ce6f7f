// How a tensor of ours is gathered from one of a dump: for each of its elements the place of the
// element that it is.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "golden/contract/config.h"
#include "golden/contract/tensor.h"
#include "golden/maps/axes.h"

namespace assay::golden {

// What a rule asks for, besides names of axes.
struct GatherRule {
  std::optional<AxisPattern> axes = std::nullopt;
  std::optional<std::pair<int64_t, int64_t>> part = std::nullopt;   // [i, n]: part i of n
  std::optional<std::pair<int64_t, int64_t>> range = std::nullopt;  // [first, end) of the last axis
  std::map<std::string, int64_t> at = {};  // index along an axis that is dropped
  std::vector<std::string> cut = {};       // axes that may be longer than ours
  bool last = false;                       // only the last position is there
  bool interleaved = false;  // rotated pairs stand side by side, and not half a head apart
};

// Extents of the letters of docs/tensors.md, and of the words one, two, three, four and half.
std::map<std::string, int64_t> axis_extents(const ModelConfig& config, int64_t batch,
                                            int64_t positions);

// One loop over elements, and the distance between two of them.
struct GatherLoop {
  int64_t extent = 1, stride = 0;
  bool position = false;  // of which only the last is there
};

// Where the elements are.
struct GatherPlan {
  std::vector<GatherLoop> loops;   // of the result, slowest first
  std::vector<GatherLoop> copies;  // dropped without an index
  int64_t base = 0;
  int64_t cut_off = 0;  // indices of cut axes that are not read
  int64_t first_position = 0;
};

class Gather {
 public:
  // axes: of ours, due its shape. Throws InputError beginning with `where` for what does not fit.
  Gather(const GatherRule& rule, const Shape& source, const std::vector<Axis>& axes,
         const Shape& due, std::map<std::string, int64_t> extents, const std::string& where);

  // Elements that are not there (rule.last) are NaN.
  void run(std::span<const double> source, std::span<double> out) const;

  // Of an axis that is dropped without an index all copies are to be equal: how many there are (1:
  // there is none), and the first element that has another copy, or -1.
  int64_t copies() const;
  int64_t first_unequal(std::span<const double> source) const;

  int64_t cut_off() const { return plan_.cut_off; }
  int64_t first_position() const { return plan_.first_position; }

 private:
  template <class Visit>
  void each(const std::vector<GatherLoop>& loops, int64_t base, Visit visit) const;

  GatherPlan plan_;
};

}  // namespace assay::golden
