#include "golden/maps/axes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>

#include "golden/contract/error.h"
#include "golden/contract/tensor_meanings.h"

namespace assay::golden {
namespace {

constexpr std::size_t kMostCharacters = 300;
constexpr int kMostDepth = 4;

// Recursive descent over one side.
class AxisParser {
 public:
  AxisParser(const std::string& text, const std::string& where) : text_(text), where_(where) {}

  AxisPattern parse() {
    if (text_.size() > kMostCharacters) {
      fail(fmt::format("at most {} characters", kMostCharacters), std::to_string(text_.size()));
    }
    AxisPattern pattern;
    pattern.left = product(0);
    if (text_.compare(at_, 2, "->") != 0) fail("'->'", here());
    at_ += 2;
    pattern.right = product(0);
    if (at_ != text_.size()) fail("the end", here());
    return pattern;
  }

 private:
  std::vector<Axis> product(int depth) {
    std::vector<Axis> axes;
    for (;;) {
      skip_spaces();
      if (at_ == text_.size()) return axes;
      const char c = text_[at_];
      if (c == '(') {
        axes.push_back(group(depth + 1));
      } else if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
        axes.push_back({word(), {}});
      } else {
        return axes;
      }
    }
  }

  Axis group(int depth) {
    if (depth > kMostDepth) fail(fmt::format("at most {} nested groups", kMostDepth), "more");
    Axis axis;
    ++at_;  // the bracket
    for (;;) {
      axis.terms.push_back(product(depth));
      if (axis.terms.back().empty()) fail("an axis", here());
      if (at_ == text_.size()) fail("')'", "the end");
      const char c = text_[at_++];
      if (c == ')') return axis;
      if (c != '+') fail("an axis, '+' or ')'", fmt::format("'{}'", c));
    }
  }

  std::string word() {
    std::string name;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '_')) {
      name += text_[at_++];
    }
    const bool number = std::isdigit(static_cast<unsigned char>(name[0])) != 0;
    if (number && (name.size() > 9 || name.find_first_not_of("0123456789") != std::string::npos)) {
      fail("an axis' name or a number of at most 9 digits", "'" + name + "'");
    }
    return name;
  }

  void skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }

  std::string here() const {
    return at_ >= text_.size() ? "the end" : fmt::format("'{}'", text_.substr(at_, 1));
  }

  [[noreturn]] void fail(const std::string& expected, const std::string& got) const {
    throw InputError(fmt::format(
        "{}: axes '{}': expected {}, got {} at column {}; e.g. 'B T (H Dh) -> B H T Dh'", where_,
        printable(text_), expected, printable(got), at_ + 1));
  }

  const std::string& text_;
  const std::string& where_;
  std::size_t at_ = 0;
};

// The second T of a side is that of the keys.
void name_keys(std::vector<Axis>& axes, bool& seen) {
  for (Axis& axis : axes) {
    if (axis.name == "T") {
      if (seen) axis.name = "S";
      seen = true;
    }
    for (std::vector<Axis>& term : axis.terms) name_keys(term, seen);
  }
}

bool has_sum(const std::vector<Axis>& axes) {
  return std::any_of(axes.begin(), axes.end(), [](const Axis& axis) {
    return axis.is_sum() || (axis.is_group() && has_sum(axis.terms[0]));
  });
}

}  // namespace

AxisPattern parse_axes(const std::string& text, const std::string& where) {
  AxisPattern pattern = AxisParser(text, where).parse();
  for (std::vector<Axis>* side : {&pattern.left, &pattern.right}) {
    bool seen = false;
    name_keys(*side, seen);
  }
  if (has_sum(pattern.right)) {
    throw InputError(
        fmt::format("{}: axes '{}': expected '+' on the left only, got one on the "
                    "right; our tensors are never fused",
                    where, printable(text)));
  }
  return pattern;
}

std::vector<Axis> axes_of_shape(const std::string& extents) {
  std::vector<Axis> axes;
  std::string_view rest = extents;
  while (!rest.empty()) {
    std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    Axis axis;
    while (!part.empty()) {
      const std::string_view factor = part.substr(0, part.find('*'));
      part.remove_prefix(std::min(part.size(), factor.size() + 1));
      if (axis.terms.empty()) axis.terms.emplace_back();
      axis.terms[0].push_back({std::string(factor), {}});
    }
    axes.push_back(axis.terms[0].size() == 1 ? axis.terms[0][0] : axis);
  }
  bool seen = false;
  name_keys(axes, seen);
  return axes;
}

std::vector<Axis> axes_of(const ModelConfig& config, const TensorInfo& info) {
  const TensorMeaning* meaning = meaning_of(config, info.name);
  const std::vector<Axis> axes = axes_of_shape(meaning == nullptr ? "" : meaning->shape);
  if (axes.size() == info.shape.size()) return axes;
  std::vector<Axis> others;
  for (std::size_t i = 0; i < info.shape.size(); ++i) {
    others.push_back({fmt::format("axis{}", i), {}});
  }
  return others;
}

std::vector<std::string> names_in(const std::vector<Axis>& axes, std::size_t chosen) {
  std::vector<std::string> names;
  for (const Axis& axis : axes) {
    if (!axis.is_group()) {
      names.push_back(axis.name);
      continue;
    }
    const std::size_t term = axis.is_sum() ? std::min(chosen, axis.terms.size() - 1) : 0;
    for (std::string& name : names_in(axis.terms[term], chosen)) names.push_back(std::move(name));
  }
  return names;
}

std::string axes_text(const std::vector<Axis>& axes) {
  std::string text;
  for (const Axis& axis : axes) {
    if (!text.empty()) text += ' ';
    if (!axis.is_group()) {
      text += axis.name;
      continue;
    }
    text += '(';
    for (std::size_t i = 0; i < axis.terms.size(); ++i) {
      text += (i == 0 ? "" : " + ") + axes_text(axis.terms[i]);
    }
    text += ')';
  }
  return text;
}

}  // namespace assay::golden
