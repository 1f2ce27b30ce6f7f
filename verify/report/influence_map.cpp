#include "verify/report/influence_map.h"

#include <fmt/format.h>

#include <algorithm>

#include "verify/report/markup.h"

namespace assay::verify {
namespace {

constexpr int kMargin = 30;  // pixels for the labels

class Picture {
 public:
  explicit Picture(const InfluenceMatrix& influence)
      : m_(influence),
        cell_(std::clamp<int64_t>(520 / std::max<int64_t>(influence.positions, 1), 2, 22)) {
    for (const int layer : m_.first_layer) deepest_ = std::max(deepest_, layer);
  }

  std::string svg() const {
    const int64_t side = m_.positions * cell_;
    std::string text = fmt::format(
        "<svg class=\"influence\" role=\"img\" aria-label=\"who sees whom\" width=\"{0}\" "
        "height=\"{0}\" viewBox=\"0 0 {0} {0}\">\n"
        "<rect class=\"ground\" x=\"{1}\" y=\"{1}\" width=\"{2}\" height=\"{2}\"/>\n",
        kMargin + side + 1, kMargin, side);
    for (int64_t t = 0; t < m_.positions; ++t) text += row(t);
    const int64_t step = std::max<int64_t>(1, (24 + cell_ - 1) / cell_);
    for (int64_t t = 0; t < m_.positions; t += step) text += labels(t);
    return text + "</svg>\n" + legend();
  }

 private:
  int layer(int64_t t, int64_t s) const {
    return m_.first_layer[static_cast<std::size_t>(t * m_.positions + s)];
  }

  double opacity(int first) const { return 0.2 + 0.8 * first / std::max(deepest_, 1); }

  // One rectangle for each run of equal cells on one side of the diagonal.
  std::string row(int64_t t) const {
    std::string text;
    for (int64_t s = 0, end = 0; s < m_.positions; s = end) {
      const int first = layer(t, s);
      const int64_t limit = s <= t ? t + 1 : m_.positions;
      for (end = s + 1; end < limit && layer(t, end) == first; ++end) {
      }
      if (first < 0) continue;
      text += fmt::format(
          "<rect class=\"{}\" fill-opacity=\"{:.2f}\" x=\"{}\" y=\"{}\" width=\"{}\" "
          "height=\"{}\"><title>position {} sees token{} from {}{}</title></rect>\n",
          s > t ? "future" : "past", s > t ? 1.0 : opacity(first), kMargin + s * cell_,
          kMargin + t * cell_, (end - s) * cell_, cell_, t,
          end == s + 1 ? fmt::format(" {}", s) : fmt::format("s {} to {}", s, end - 1),
          layer_text(first), s > t ? ": the future" : "");
    }
    return text;
  }

  std::string labels(int64_t t) const {
    const int64_t middle = kMargin + t * cell_ + cell_ / 2;
    return fmt::format(
        "<text x=\"{0}\" y=\"{1}\" text-anchor=\"middle\">{4}</text>"
        "<text x=\"{2}\" y=\"{3}\" text-anchor=\"end\">{4}</text>\n",
        middle, kMargin - 6, kMargin - 6, middle + 4, t);
  }

  // first_layer counts the embedding as 0 and what follows the last layer as one more, or tensors.
  std::string layer_text(int first) const {
    if (!m_.tensors.empty()) {
      return escape_markup(m_.tensors[static_cast<std::size_t>(first)]) + " on";
    }
    return first == 0 ? "the embedding on" : fmt::format("layer {} on", first - 1);
  }

  std::string legend() const {
    std::string text = "<p class=\"legend\">";
    for (int first = 0; first <= deepest_; ++first) {
      const bool used =
          std::find(m_.first_layer.begin(), m_.first_layer.end(), first) != m_.first_layer.end();
      if (!used) continue;
      text += fmt::format(
          "<span><svg width=\"12\" height=\"12\"><rect class=\"past\" fill-opacity=\"{:.2f}\" "
          "width=\"12\" height=\"12\"/></svg> from {}</span> ",
          opacity(first), layer_text(first));
    }
    return text +
           "<span><svg width=\"12\" height=\"12\"><rect class=\"future\" width=\"12\" "
           "height=\"12\"/></svg> the future: a leak</span></p>\n";
  }

  const InfluenceMatrix& m_;
  int64_t cell_;  // side of a cell in pixels
  int deepest_ = 0;
};

}  // namespace

std::string influence_map_svg(const InfluenceMatrix& influence) { return Picture(influence).svg(); }

std::string influence_map_text(const InfluenceMatrix& influence) {
  std::string text =
      fmt::format("who sees whom (row: position, column: token it depends on; digit: first {})\n",
                  influence.tensors.empty() ? "layer, 0 = embedding"
                                            : "tensor, 0 = " + influence.tensors.front());
  for (int64_t t = 0; t < influence.positions; ++t) {
    std::string row;
    for (int64_t s = 0; s < influence.positions; ++s) {
      const int layer =
          influence.first_layer[static_cast<std::size_t>(t * influence.positions + s)];
      row += layer < 0 ? '.' : s > t ? '!' : static_cast<char>('0' + std::min(layer, 9));
    }
    text += fmt::format("{:>4} {}\n", t, row);
  }
  return text;
}

}  // namespace assay::verify
