#include "golden/maps/binder.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "golden/contract/error.h"
#include "golden/contract/names.h"

namespace assay::golden {
namespace {

constexpr int64_t kMostExtent = kMostElements;

// Extent of a product of axes, if all of them are known.
struct Extent {
  int64_t known = 1;                 // product of what is known
  std::vector<std::string> unknown;  // names
};

bool is_number(const std::string& name) { return name[0] >= '0' && name[0] <= '9'; }

std::string list_of(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

// Finds extents and strides of one rule.
class GatherBinder {
 public:
  GatherBinder(const GatherRule& rule, const Shape& source, const Shape& due,
               std::map<std::string, int64_t> extents, const std::string& where)
      : rule_(rule), source_(source), due_(due), extents_(std::move(extents)), where_(where) {}

  GatherPlan bind(AxisPattern pattern) {
    pattern_ = std::move(pattern);
    take_range();
    choose_part();
    if (rule_.last) extents_["T"] = 1;
    check_names();
    infer();
    check_extents();
    lay_out();
    if (rule_.last) be_last();
    if (rule_.interleaved) interleave();
    return std::move(plan_);
  }

 private:
  [[noreturn]] void fail(const std::string& expected, const std::string& got) const {
    throw InputError(fmt::format("{}: axes '{} -> {}' of {}: expected {}, got {}", where_,
                                 axes_text(pattern_.left), axes_text(pattern_.right),
                                 shape_text(source_), expected, got));
  }

  // What lies before the part or range of the last axis that the pattern is of.
  void take_range() {
    strides_of_ = source_;
    if (!rule_.range) return;
    if (source_.empty()) fail("an axis that a range is of", "a scalar");
    const auto [first, end] = *rule_.range;
    if (first < 0 || end <= first || end > source_.back()) {
      fail(fmt::format("a range within [0, {}] of the last axis", source_.back()),
           fmt::format("[{}, {}]", first, end));
    }
    plan_.base += first;
    source_.back() = end - first;
  }

  bool finds_sum(const std::vector<Axis>& axes, const Axis** sum) const {
    for (const Axis& axis : axes) {
      if (!axis.is_group()) continue;
      if (axis.is_sum()) {
        if (*sum != nullptr) fail("one sum", "two");
        *sum = &axis;
      }
      for (const std::vector<Axis>& term : axis.terms) finds_sum(term, sum);
    }
    return *sum != nullptr;
  }

  // Whom `part` is of: a sum's term, an axis that is dropped, else the last axis.
  void choose_part() {
    const Axis* sum = nullptr;
    if (finds_sum(pattern_.left, &sum) && !rule_.part) {
      fail("\"part\": [i, n], which term of the sum it is", "none");
    }
    if (!rule_.part) return;
    const auto [index, parts] = *rule_.part;
    if (sum != nullptr) {
      if (static_cast<int64_t>(sum->terms.size()) != parts) {
        fail(fmt::format("a part of {}, as many as the sum has terms", sum->terms.size()),
             fmt::format("[{}, {}]", index, parts));
      }
      chosen_ = static_cast<std::size_t>(index);
      return;
    }
    std::vector<std::string> dropped;
    for (const std::string& name : names_in(pattern_.left, 0)) {
      if (name == "1" || name == "one" || is_index(name) || on_right(name)) continue;
      if (rule_.last && name == "T") continue;
      dropped.push_back(name);
    }
    // An axis of as many as there are parts, where several are dropped.
    const auto fits = [&](const std::string& name) {
      const auto found = extents_.find(name);
      return (found != extents_.end() && found->second == parts) || name == std::to_string(parts);
    };
    if (dropped.size() > 1) std::erase_if(dropped, [&](const auto& name) { return !fits(name); });
    if (dropped.size() > 1) fail("one axis that the part is of; \"at\" names others", "several");
    if (dropped.empty()) return take_equal_part(index, parts);
    part_axis_ = dropped[0];
    if (is_number(part_axis_) || extents_.contains(part_axis_)) {
      if (!fits(part_axis_)) {
        fail(fmt::format("axis {} to have {} parts", part_axis_, parts), extent_text(part_axis_));
      }
    }
    extents_[part_axis_] = parts;
  }

  std::string extent_text(const std::string& name) const {
    return is_number(name) ? name : std::to_string(extents_.at(name));
  }

  void take_equal_part(int64_t index, int64_t parts) {
    if (source_.empty() || source_.back() % parts != 0) {
      fail(fmt::format("a last axis of {} equal parts", parts),
           source_.empty() ? "a scalar" : std::to_string(source_.back()));
    }
    source_.back() /= parts;
    plan_.base += index * source_.back();
  }

  bool on_right(const std::string& name) const {
    const std::vector<std::string> right = names_in(pattern_.right, 0);
    return std::find(right.begin(), right.end(), name) != right.end();
  }
  bool is_index(const std::string& name) const {
    return rule_.at.contains(name) && !on_right(name);
  }

  void check_names() const {
    std::set<std::string> left;
    for (const std::string& name : names_in(pattern_.left, chosen_)) {
      if (!is_number(name) && !left.insert(name).second) {
        fail("each axis once on a side", fmt::format("{} twice on the left", name));
      }
    }
    std::set<std::string> right;
    for (const std::string& name : names_in(pattern_.right, 0)) {
      if (!right.insert(name).second && !is_number(name)) {
        fail("each axis once on a side", fmt::format("{} twice on the right", name));
      }
      if (is_number(name) && name != "1") fail("names on the right", name);
    }
    for (const auto& [name, index] : rule_.at) {
      if (name != "L" && !left.contains(name)) {
        fail(fmt::format("an axis {} that \"at\" is of", name), "none on the left");
      }
      if (name != "L" && right.contains(name)) {
        fail(fmt::format("axis {}, of which one index is taken, on the left only", name), "both");
      }
    }
  }

  std::optional<int64_t> extent_of(const std::string& name) const {
    if (is_number(name)) return std::stoll(name);
    const auto found = extents_.find(name);
    if (found == extents_.end()) return std::nullopt;
    return found->second;
  }

  int64_t times(int64_t a, int64_t b) const {
    if (a != 0 && b > kMostExtent / a) fail("an axis of at most 2^40", "more");
    return a * b;
  }

  Extent extent_of(const Axis& axis) const {
    Extent extent;
    if (!axis.is_group()) {
      if (const auto known = extent_of(axis.name)) {
        extent.known = *known;
      } else {
        extent.unknown = {axis.name};
      }
      return extent;
    }
    if (!axis.is_sum()) return extent_of(axis.terms[0]);
    extent.known = 0;
    for (const std::vector<Axis>& term : axis.terms) {
      const Extent one = extent_of(term);
      extent.known += one.known;
      extent.unknown.insert(extent.unknown.end(), one.unknown.begin(), one.unknown.end());
    }
    return extent;
  }

  Extent extent_of(const std::vector<Axis>& product) const {
    Extent extent;
    for (const Axis& axis : product) {
      const Extent one = extent_of(axis);
      extent.known = times(extent.known, one.known);
      extent.unknown.insert(extent.unknown.end(), one.unknown.begin(), one.unknown.end());
    }
    return extent;
  }

  // The one unknown factor of an axis of a given extent.
  bool infer_one(const Axis& axis, int64_t total) {
    const Extent extent = extent_of(axis);
    if (extent.unknown.size() != 1 || axis_has_sum(axis)) return false;
    if (extent.known == 0 || total % extent.known != 0) {
      fail(fmt::format("axis {} to be a multiple of {}", axes_text({axis}), extent.known),
           std::to_string(total));
    }
    extents_[extent.unknown[0]] = total / extent.known;
    return true;
  }

  static bool axis_has_sum(const Axis& axis) {
    if (!axis.is_group()) return false;
    return axis.is_sum() || std::any_of(axis.terms[0].begin(), axis.terms[0].end(), axis_has_sum);
  }

  void infer() {
    if (pattern_.left.size() != source_.size()) {
      fail(fmt::format("a tensor of {} axes", pattern_.left.size()),
           fmt::format("one of {}", source_.size()));
    }
    if (pattern_.right.size() != due_.size()) {
      fail(fmt::format("{} axes on the right, those of {}", due_.size(), shape_text(due_)),
           std::to_string(pattern_.right.size()));
    }
    for (bool found = true; found;) {
      found = false;
      for (std::size_t i = 0; i < due_.size(); ++i) {
        found = infer_one(pattern_.right[i], due_[i]) || found;
      }
      for (std::size_t i = 0; i < source_.size(); ++i) {
        found = infer_one(pattern_.left[i], source_[i]) || found;
      }
    }
    for (const auto* side : {&pattern_.left, &pattern_.right}) {
      if (const Extent extent = extent_of(*side); !extent.unknown.empty()) {
        fail(fmt::format("axes whose extents follow from both shapes (known are {})", known()),
             list_of(extent.unknown));
      }
    }
  }

  std::string known() const {
    std::vector<std::string> names;
    for (const auto& [name, extent] : extents_) names.push_back(name);
    return list_of(names);
  }

  bool may_be_longer(const Axis& axis) const {
    return std::find(rule_.cut.begin(), rule_.cut.end(), axis.name) != rule_.cut.end();
  }

  void check_extents() {
    for (const std::string& name : rule_.cut) {
      const bool there = std::any_of(pattern_.left.begin(), pattern_.left.end(),
                                     [&](const Axis& axis) { return axis.name == name; });
      if (!there) fail(fmt::format("an axis {} that \"cut\" is of, not in a group", name), "none");
    }
    for (std::size_t i = 0; i < source_.size(); ++i) {
      const int64_t extent = extent_of(pattern_.left[i]).known;
      if (extent < source_[i] && may_be_longer(pattern_.left[i])) {
        plan_.cut_off += source_[i] - extent;
        continue;
      }
      if (extent != source_[i]) {
        fail(fmt::format("axis {} of {}", axes_text({pattern_.left[i]}), extent),
             std::to_string(source_[i]));
      }
    }
    for (std::size_t i = 0; i < due_.size(); ++i) {
      const int64_t extent = extent_of(pattern_.right[i]).known;
      const bool is_position = rule_.last && pattern_.right[i].name == "T";
      if (extent != due_[i] && !is_position) {
        fail(fmt::format("axis {} on the right of {}, as our tensor has it",
                         axes_text({pattern_.right[i]}), due_[i]),
             std::to_string(extent));
      }
    }
  }

  // Strides of all atoms on the left; what is dropped is settled.
  void lay_out() {
    int64_t stride = 1;
    for (std::size_t i = source_.size(); i-- > 0;) {
      lay_out({pattern_.left[i]}, stride);
      stride = times(stride, strides_of_[i]);
    }
    for (const auto& name : names_in(pattern_.right, 0)) {
      const int64_t extent = *extent_of(name);
      const auto found = strides_.find(name);
      if (found == strides_.end() && extent != 1) {
        fail(fmt::format("axis {} of {} on the left too", name, extent), "it on the right only");
      }
      plan_.loops.push_back({extent, found == strides_.end() ? 0 : found->second, name == "T"});
      order_.push_back(name);
    }
  }

  void lay_out(const std::vector<Axis>& product, int64_t stride) {
    for (std::size_t i = product.size(); i-- > 0;) {
      const Axis& axis = product[i];
      const int64_t extent = extent_of(axis).known;
      if (!axis.is_group()) {
        settle(axis.name, extent, stride);
      } else if (!axis.is_sum()) {
        lay_out(axis.terms[0], stride);
      } else {
        int64_t before = 0;
        for (std::size_t t = 0; t < chosen_; ++t) before += extent_of(axis.terms[t]).known;
        plan_.base += before * stride;
        lay_out(axis.terms[chosen_], stride);
      }
      stride = times(stride, extent);
    }
  }

  void settle(const std::string& name, int64_t extent, int64_t stride) {
    if (!is_number(name) && on_right(name)) {
      strides_[name] = stride;
    } else if (name == part_axis_) {
      plan_.base += rule_.part->first * stride;
    } else if (is_index(name)) {
      const int64_t index = rule_.at.at(name);
      if (index < 0 || index >= extent) {
        fail(fmt::format("an index along {} below {}", name, extent), std::to_string(index));
      }
      plan_.base += index * stride;
    } else if (extent > 1) {
      plan_.copies.push_back({extent, stride});
    }
  }

  // The result has all positions, of which one is there.
  void be_last() {
    const auto place = std::find(order_.begin(), order_.end(), "T");
    if (place == order_.end()) fail("an axis T on the right, for \"last\"", "none");
    GatherLoop& loop = plan_.loops[static_cast<std::size_t>(place - order_.begin())];
    const std::size_t axis = position_axis();
    loop = {due_[axis], 0, true};
    plan_.first_position = due_[axis] - 1;
  }

  std::size_t position_axis() const {
    for (std::size_t i = 0; i < pattern_.right.size(); ++i) {
      if (pattern_.right[i].name == "T") return i;
    }
    fail("T as an axis of its own on the right, for \"last\"", "a group");
  }

  // Element d of a half-rotated head is 2d in front of the middle, else 2(d - middle) + 1.
  void interleave() {
    if (plan_.loops.empty() || plan_.loops.back().extent % 2 != 0) {
      fail("a last axis of pairs, for \"rotation\"", shape_text(due_));
    }
    const GatherLoop head = plan_.loops.back();
    plan_.loops.back() = {2, head.stride};
    plan_.loops.push_back({head.extent / 2, 2 * head.stride});
  }

  GatherPlan plan_;
  const GatherRule& rule_;
  Shape source_, strides_of_;
  const Shape& due_;
  std::map<std::string, int64_t> extents_, strides_;
  const std::string& where_;
  AxisPattern pattern_;
  std::size_t chosen_ = 0;
  std::string part_axis_;
  std::vector<std::string> order_;  // names of loops
};

}  // namespace

GatherPlan bind_axes(const GatherRule& rule, const AxisPattern& pattern, const Shape& source,
                     const Shape& due, std::map<std::string, int64_t> extents,
                     const std::string& where) {
  return GatherBinder(rule, source, due, std::move(extents), where).bind(pattern);
}

}  // namespace assay::golden
