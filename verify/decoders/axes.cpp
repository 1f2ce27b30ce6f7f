#include "verify/decoders/axes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "verify/leakage/loss_names.h"

namespace assay::verify {
namespace {

constexpr char kOther = '-', kVaries = '?';

int64_t parse_whole(const std::string& text, const std::string& where) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw InputError(fmt::format(
        "--axis {}: expected NAME=AXIS, NAME=AXIS:FIRST, NAME=AXIS,AXIS or NAME=none, got '{}'",
        where, text));
  }
  return value;
}

// The letter of an axis, by how it goes with positions and rows.
char letter_of(const Probed& p, std::size_t axis) {
  const int64_t extent = p.shape[axis];
  const int64_t B = p.batch, T = p.positions;
  if (!p.shorter && !p.wider) {
    if (extent == T) return 'T';
    if (axis == 0 && extent == B) return 'B';
    return B > 1 && extent == B * T ? 'F' : kOther;
  }
  const int64_t by_length = p.shorter ? extent - (*p.shorter)[axis] : 0;
  const int64_t by_rows = p.wider ? (*p.wider)[axis] - extent : 0;
  const bool with_length = p.shorter ? by_length == T - p.shorter_positions : extent == T;
  const bool is_flat = extent == B * T &&
                       (!p.shorter || (*p.shorter)[axis] == B * p.shorter_positions) &&
                       (p.wider ? (*p.wider)[axis] == p.other_batch * T : B > 1 && by_length != 0);
  if (is_flat && (B > 1 || p.wider)) return 'F';
  if (with_length && by_rows == 0) return 'T';
  if (by_length == 0 && extent == B && (p.wider ? by_rows == p.other_batch - B : axis == 0)) {
    return 'B';
  }
  return by_length == 0 && by_rows == 0 ? kOther : kVaries;
}

// Index 0 of an axis that is longer or shorter than the tokens are.
void set_first(const Probed& p, std::optional<int64_t> first, Layout& layout) {
  const std::size_t axis = layout.axes.find('T');
  if (axis == std::string::npos) return;
  const int64_t more = p.shape[axis] - p.positions;
  layout.first = first.value_or(std::min<int64_t>(0, -more));
  layout.slack = first ? 0 : std::abs(more);
}

std::string why_none(const std::string& axes, const Probed& p) {
  if (golden::element_count(p.shape) == 1) return "a single number";
  const std::size_t varies = axes.find(kVaries);
  if (varies == std::string::npos) return "no axis with the positions";
  return fmt::format("axis {} has {} for {} rows of {} positions: neither positions nor rows",
                     varies, p.shape[varies], p.batch, p.positions);
}

std::size_t axis_given(const GivenAxis& given, int number, const std::string& name,
                       const golden::Shape& shape) {
  const int rank = static_cast<int>(shape.size());
  const int axis = number < 0 ? rank + number : number;
  if (axis >= 0 && axis < rank) return static_cast<std::size_t>(axis);
  throw InputError(fmt::format("--axis {}={}: expected an axis of {} {}, which has {}",
                               given.pattern, number, name, golden::shape_text(shape), rank));
}

FoundAxes apply(const GivenAxis& given, const std::string& name, const Probed& p,
                std::string axes) {
  if (!given.axis) return {{}, "it is said to have no positions"};
  for (char& letter : axes) letter = letter == 'T' ? 'S' : letter == 'F' ? kOther : letter;
  const std::size_t axis = axis_given(given, *given.axis, name, p.shape);
  axes[axis] = p.batch > 1 && p.shape[axis] == p.batch * p.positions ? 'F' : 'T';
  if (given.second) axes[axis_given(given, *given.second, name, p.shape)] = 'T';
  FoundAxes found;
  found.layout.axes = axes;
  set_first(p, given.first, found.layout);
  return found;
}

}  // namespace

GivenAxis parse_given_axis(const std::string& text) {
  const std::size_t equal = text.rfind('=');
  if (equal == std::string::npos || equal == 0) {
    throw InputError(fmt::format("--axis {}: expected NAME=AXIS, as probs=2", text));
  }
  GivenAxis given{text.substr(0, equal), {}, {}, {}};
  const std::string value = text.substr(equal + 1);
  if (value == "none") return given;
  const std::size_t colon = value.find(':');
  const std::string axes = value.substr(0, colon);
  const std::size_t comma = axes.find(',');
  given.axis = static_cast<int>(parse_whole(axes.substr(0, comma), text));
  if (comma != std::string::npos) {
    given.second = static_cast<int>(parse_whole(axes.substr(comma + 1), text));
  }
  if (colon != std::string::npos) given.first = parse_whole(value.substr(colon + 1), text);
  return given;
}

FoundAxes find_axes(const std::string& name, const Probed& probed, const AxesOptions& options) {
  Probed p = probed;
  if (p.shorter && p.shorter->size() != p.shape.size()) p.shorter.reset();
  if (p.wider && p.wider->size() != p.shape.size()) p.wider.reset();
  std::string axes;
  for (std::size_t axis = 0; axis < p.shape.size(); ++axis) axes += letter_of(p, axis);
  for (const GivenAxis& given : options.given) {
    if (golden::matches(given.pattern, name)) return apply(given, name, p, axes);
  }
  if (options.position_axis) {
    const int rank = static_cast<int>(p.shape.size());
    const int axis = *options.position_axis;
    if (axis < rank && axis >= -rank) return apply({name, axis, {}, {}}, name, p, axes);
  }
  const auto flat = std::count(axes.begin(), axes.end(), 'F');
  if (flat > 1) return {{}, "several axes with rows and positions in one"};
  Layout layout{.axes = axes};
  if (!layout.has_positions()) return {{}, why_none(axes, p)};
  set_first(p, {}, layout);
  return {layout, ""};
}

bool is_masked(const Layout& layout, const golden::Tensor& tensor) {
  const std::size_t first = layout.axes.find('T'), second = layout.axes.rfind('T');
  if (first == second || first == std::string::npos) return false;
  constexpr double kLarge = -1e3;
  int64_t later = 0, excluded = 0, zero = 0, before = 0, zero_before = 0;
  std::size_t i = 0;
  std::vector<int64_t> index(tensor.shape.size(), 0);
  for (const double x : tensor.values) {
    if (index[second] > index[first]) {
      ++later;
      excluded += std::isinf(x) || x <= kLarge;
      zero += x == 0;
    } else {
      ++before;
      zero_before += x == 0;
    }
    for (i = tensor.shape.size(); i-- > 0;) {
      if (++index[i] < tensor.shape[i]) break;
      index[i] = 0;
    }
  }
  const bool as_zeros = 4 * zero >= later && 20 * zero_before <= before;
  return later > 0 && (4 * excluded >= later || as_zeros);
}

void settle_layout(const std::string& name, const golden::Tensor& tensor,
                   const AxesOptions& options, FoundAxes& found) {
  const bool is_given =
      std::any_of(options.given.begin(), options.given.end(),
                  [&](const GivenAxis& given) { return golden::matches(given.pattern, name); });
  if (found.problem.empty() && tells_of_labels(name) && !is_given) {
    found.layout = Layout();
    found.problem = "a loss may see the token that it is of; --axis NAME=AXIS judges it";
  }
  std::string& axes = found.layout.axes;
  if (is_given || !is_masked(found.layout, tensor)) return;
  const auto query = static_cast<int64_t>(axes.find('T'));
  std::replace(axes.begin() + query + 1, axes.end(), 'T', 'S');
}

std::string axes_text(const Layout& layout, const golden::Shape& shape) {
  std::vector<std::string> parts;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const char letter = axis < layout.axes.size() ? layout.axes[axis] : kOther;
    if (letter == 'F') {
      parts.emplace_back("B*T");
    } else if (letter == 'f') {
      parts.emplace_back("T*B");
    } else if (letter == 'T' && layout.first != 0) {
      parts.push_back(fmt::format("T from {}", layout.first));
    } else if (letter == 'B' || letter == 'T' || letter == 'S') {
      parts.emplace_back(1, letter);
    } else {
      parts.push_back(fmt::format("{}", shape[axis]));
    }
  }
  return fmt::format("[{}]", fmt::join(parts, ","));
}

}  // namespace assay::verify
