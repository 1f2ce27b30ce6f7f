#include "verify/numerics/layout.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace assay::verify {
namespace {

std::string axis_name(char letter, bool heads) {
  switch (letter) {
    case 'G':
      return "Hkv";
    case 'S':
      return "T";
    case 'D':
      return heads ? "Dh" : "D";
    default:
      return std::string(1, letter);
  }
}

std::vector<std::string> axis_names(const std::string& axes) {
  const bool heads = axes.find_first_of("HG") != std::string::npos;
  std::vector<std::string> names;
  for (const char letter : axes) names.push_back(axis_name(letter, heads));
  return names;
}

char index_letter(char axis) { return static_cast<char>(axis - 'A' + 'a'); }

// Index along each axis of a row-major element.
std::vector<int64_t> indices_of(const golden::Shape& shape, int64_t element) {
  std::vector<int64_t> indices(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    indices[axis] = element % shape[axis];
    element /= shape[axis];
  }
  return indices;
}

std::string merged_heads_hint(const golden::Shape& due, const std::string& axes,
                              const golden::Shape& got) {
  if (axes != "BHTD" && axes != "BGTD") return "";
  if (got != golden::Shape{due[0], due[2], due[1] * due[3]}) return "";
  return fmt::format("looks like (B,T,{}*Dh), heads concatenated", axes[1] == 'G' ? "Hkv" : "H");
}

golden::Shape without_ones(golden::Shape shape) {
  std::erase(shape, 1);
  return shape;
}

// Axes that are joined, missing or there too much.
std::string other_rank_hint(const golden::Shape& due, const std::string& axes,
                            const golden::Shape& got) {
  if (const std::string merged = merged_heads_hint(due, axes, got); !merged.empty()) return merged;
  std::vector<std::string> names = axis_names(axes);
  if (got.size() > due.size() && without_ones(due) == without_ones(got)) {
    return "looks like the right values with an axis of 1 too many; squeeze it";
  }
  if (got.size() + 1 != due.size()) return "";
  if (axes[0] == 'B' && std::equal(got.begin(), got.end(), due.begin() + 1)) {
    names.erase(names.begin());
    return fmt::format("looks like ({}), {}", fmt::join(names, ","),
                       due[0] == 1 ? "without the batch axis; give it an axis of 1 in front"
                                   : "one row of the batch; dump all of them");
  }
  for (std::size_t axis = 0; axis + 1 < due.size(); ++axis) {
    golden::Shape joined = due;
    joined[axis] *= joined[axis + 1];
    joined.erase(joined.begin() + static_cast<int64_t>(axis) + 1);
    if (joined != got) continue;
    std::vector<std::string> seen = names;
    seen[axis] += "*" + seen[axis + 1];
    seen.erase(seen.begin() + static_cast<int64_t>(axis) + 1);
    return fmt::format("looks like ({}), two axes joined; reshape it", fmt::join(seen, ","));
  }
  return "";
}

// One axis is longer than it should be, for a reason that has a name.
std::string longer_axis_hint(const golden::Shape& due, const std::string& axes,
                             const golden::Shape& got) {
  std::size_t longer = due.size();
  for (std::size_t axis = 0; axis < due.size(); ++axis) {
    if (got[axis] == due[axis]) continue;
    if (longer != due.size() || got[axis] < due[axis] || due[axis] == 0) return "";
    longer = axis;
  }
  if (longer == due.size()) return "";
  if (axes[longer] == 'G' && got[longer] % due[longer] == 0) {
    return fmt::format("looks like key/value heads repeated {} times; dump them before that",
                       got[longer] / due[longer]);
  }
  if (axes[longer] == 'V') {
    return fmt::format("looks like a vocabulary padded to {}; cut it to {}", got[longer],
                       due[longer]);
  }
  return "";
}

}  // namespace

std::string axes_text(const std::string& axes) {
  return fmt::format("({})", fmt::join(axis_names(axes), ","));
}

std::string index_text(const golden::Shape& shape, const std::string& axes, int64_t element) {
  const std::vector<int64_t> indices = indices_of(shape, element);
  std::vector<std::string> parts;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    parts.push_back(fmt::format("{}{}", index_letter(axes[axis]), indices[axis]));
  }
  return fmt::format("({})", fmt::join(parts, ","));
}

std::string layout_hint(const golden::Shape& due, const std::string& axes,
                        const golden::Shape& got) {
  if (got.size() != due.size()) return other_rank_hint(due, axes, got);
  std::vector<std::size_t> order(due.size());
  std::iota(order.begin(), order.end(), 0);
  const std::vector<std::string> names = axis_names(axes);
  while (std::next_permutation(order.begin(), order.end())) {
    bool fits = true;
    for (std::size_t axis = 0; axis < due.size(); ++axis) fits &= due[order[axis]] == got[axis];
    if (!fits) continue;
    const std::size_t n = due.size();
    std::vector<std::size_t> last_two(n);
    std::iota(last_two.begin(), last_two.end(), 0);
    std::swap(last_two[n - 2], last_two[n - 1]);
    if (order == last_two) return "looks transposed";
    std::vector<std::string> seen;
    for (const std::size_t axis : order) seen.push_back(names[axis]);
    return fmt::format("looks like ({})", fmt::join(seen, ","));
  }
  return longer_axis_hint(due, axes, got);
}

std::string location_text(const golden::Shape& shape, const std::string& axes,
                          std::span<const char> marked) {
  std::vector<int64_t> low(shape), high(shape.size(), -1);
  const std::size_t t = axes.find('T'), s = axes.find('S');
  const bool square = t != std::string::npos && s != std::string::npos;
  bool future = square, diagonal = square;
  for (std::size_t i = 0; i < marked.size(); ++i) {
    if (marked[i] == 0) continue;
    const std::vector<int64_t> indices = indices_of(shape, static_cast<int64_t>(i));
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      low[axis] = std::min(low[axis], indices[axis]);
      high[axis] = std::max(high[axis], indices[axis]);
    }
    future = future && indices[s] > indices[t];
    diagonal = diagonal && indices[s] == indices[t];
  }
  std::vector<std::string> parts;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (high[axis] < 0 || (low[axis] == 0 && high[axis] == shape[axis] - 1)) continue;
    const char letter = index_letter(axes[axis]);
    parts.push_back(low[axis] == high[axis]
                        ? fmt::format("{}{}", letter, low[axis])
                        : fmt::format("{}{}..{}", letter, low[axis], high[axis]));
  }
  if (future) parts.push_back("future keys (s > t)");
  if (diagonal) parts.push_back("the diagonal (s = t)");
  return parts.empty() ? "" : fmt::format("all at {}", fmt::join(parts, ", "));
}

}  // namespace assay::verify
