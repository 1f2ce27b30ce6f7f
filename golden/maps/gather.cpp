#include "golden/maps/gather.h"

#include <algorithm>
#include <limits>

#include "golden/maps/binder.h"

namespace assay::golden {

std::map<std::string, int64_t> axis_extents(const ModelConfig& config, int64_t batch,
                                            int64_t positions) {
  std::map<std::string, int64_t> all{{"one", 1}, {"two", 2}, {"three", 3}, {"four", 4}};
  const auto add = [&](const char* name, int64_t extent) {
    if (extent > 0) all[name] = extent;
  };
  add("B", batch);
  add("T", positions);
  add("S", positions);
  add("L", config.num_hidden_layers);
  add("D", config.hidden_size);
  add("F", config.intermediate_size);
  add("H", config.num_attention_heads);
  add("Hkv", config.num_key_value_heads);
  add("Dh", config.head_dim);
  add("half", config.head_dim / 2);
  add("V", config.vocab_size);
  return all;
}

Gather::Gather(const GatherRule& rule, const Shape& source, const std::vector<Axis>& axes,
               const Shape& due, std::map<std::string, int64_t> extents, const std::string& where) {
  AxisPattern pattern;
  if (rule.axes) {
    pattern = *rule.axes;
  } else {
    pattern = {axes, axes};
    if (rule.last && source.size() + 1 == due.size()) {
      std::erase_if(pattern.left, [](const Axis& axis) { return axis.name == "T"; });
    }
  }
  plan_ = bind_axes(rule, pattern, source, due, std::move(extents), where);
}

template <class Visit>
void Gather::each(const std::vector<GatherLoop>& loops, int64_t base, Visit visit) const {
  std::vector<int64_t> index(loops.size(), 0);
  int64_t place = base;
  bool before_last =
      plan_.first_position > 0 &&
      std::any_of(loops.begin(), loops.end(), [](const GatherLoop& loop) { return loop.position; });
  int64_t total = 1;
  for (const GatherLoop& loop : loops) total *= loop.extent;
  for (int64_t i = 0; i < total; ++i) {
    visit(i, place, before_last);
    for (std::size_t axis = loops.size(); axis-- > 0;) {
      const GatherLoop& loop = loops[axis];
      place += loop.stride;
      if (loop.position) before_last = index[axis] + 1 < plan_.first_position;
      if (++index[axis] < loop.extent) break;
      place -= loop.stride * loop.extent;
      index[axis] = 0;
      if (loop.position) before_last = plan_.first_position > 0;
    }
  }
}

void Gather::run(std::span<const double> source, std::span<double> out) const {
  each(plan_.loops, plan_.base, [&](int64_t i, int64_t place, bool missing) {
    out[static_cast<std::size_t>(i)] = missing ? std::numeric_limits<double>::quiet_NaN()
                                               : source[static_cast<std::size_t>(place)];
  });
}

int64_t Gather::copies() const {
  int64_t count = 1;
  for (const GatherLoop& loop : plan_.copies) count *= loop.extent;
  return count;
}

int64_t Gather::first_unequal(std::span<const double> source) const {
  int64_t first = -1;
  const auto same = [](double a, double b) { return a == b || (a != a && b != b); };
  each(plan_.copies, 0, [&](int64_t, int64_t offset, bool) {
    if (offset == 0) return;
    each(plan_.loops, plan_.base, [&](int64_t i, int64_t place, bool missing) {
      if (missing || (first >= 0 && first <= i)) return;
      const auto at = static_cast<std::size_t>(place);
      if (!same(source[at], source[at + static_cast<std::size_t>(offset)])) first = i;
    });
  });
  return first;
}

}  // namespace assay::golden
