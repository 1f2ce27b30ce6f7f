#include "verify/training/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "verify/report/markup.h"

namespace assay::verify::training {
namespace {

constexpr const char* kPlotStyle = R"css(
figure { margin: 1rem 0; } figcaption { font-weight: 600; }
.plot { max-width: 100%; height: auto; }
.plot text { font: 11px ui-monospace, monospace; fill: var(--faint); }
.grid { stroke: var(--line); } .level { stroke: var(--ink); stroke-dasharray: 3 3; }
polyline { fill: none; stroke-width: 1.6; } .legend line { stroke-width: 2; }
.line0 { stroke: var(--past); } .line1 { stroke: var(--bad); } .line2 { stroke: var(--good); }
.line3 { stroke: var(--warn); } circle { fill: var(--ground); stroke-width: 1.6; }
)css";

constexpr double kWidth = 720, kHeight = 260, kLeft = 64, kRight = 12, kTop = 12, kBottom = 40;
constexpr std::array<const char*, 4> kDashes{"none", "6 3", "2 3", "9 3 2 3"};
constexpr double kLegend = 200, kTitle = 26;  // of a file of several plots

// The page's colours for both kinds of screens, as numbers: not every viewer knows variables.
constexpr const char* kFileStyle = R"css(
text { font: 11px ui-monospace, monospace; fill: #5c6670; }
.title { font: 600 14px system-ui, sans-serif; fill: #1b1f24; }
.page { fill: #ffffff; } .ground { fill: #f5f7f9; } .grid { stroke: #d5dae0; }
.level { stroke: #1b1f24; stroke-dasharray: 3 3; }
.line0, .line1, .line2, .line3 { stroke-width: 1.6; }
.line0 { stroke: #1f5fa8; } .line1 { stroke: #b3261e; } .line2 { stroke: #1a7f4b; }
.line3 { stroke: #8a5a00; } polyline { fill: none; } circle { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
  text { fill: #98a2ad; } .title { fill: #e4e8ec; } .page, circle { fill: #14171b; }
  .ground { fill: #1d2228; } .grid { stroke: #333a42; } .level { stroke: #e4e8ec; }
  .line0 { stroke: #79b4f2; } .line1 { stroke: #ff8a80; } .line2 { stroke: #5fcf94; }
  .line3 { stroke: #e6b450; }
}
)css";

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void take(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  void widen() {
    if (high - low > 1e-12 * std::max(std::abs(low), std::abs(high))) return;
    const double room = std::max(0.5, 1e-3 * std::abs(low));
    low -= room;
    high += room;
  }
};

// 1, 2 or 5 times a power of ten, so that there are about `count` of them.
double tick_step(const Range& range, int count) {
  const double raw = (range.high - range.low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw) return factor * power;
  }
  return 10 * power;
}

std::vector<double> ticks_of(const Range& range, int count) {
  const double step = tick_step(range, count);
  const double first = std::ceil(range.low / step);
  std::vector<double> ticks;
  for (int i = 0; i <= 2 * count; ++i) {
    const double tick = (first + i) * step;
    if (!(tick <= range.high + 1e-9 * step)) break;
    ticks.push_back(std::abs(tick) < 1e-9 * step ? 0 : tick);
  }
  return ticks;
}

class Drawing {
 public:
  explicit Drawing(const Plot& plot) : plot_(plot) {
    for (const Line& line : plot.lines) {
      for (std::size_t i = 0; i < line.y.size(); ++i) {
        if (!std::isfinite(line.y[i])) continue;
        x_.take(line.x[i]);
        y_.take(line.y[i]);
      }
    }
    is_empty_ = !(x_.low <= x_.high);
    for (const auto& [name, level] : plot.levels) y_.take(level);
    x_.widen();
    y_.widen();
    const double margin = 0.04 * (y_.high - y_.low);
    y_.low -= margin;
    y_.high += margin;
  }

  std::string svg() const {
    if (is_empty_) return "";
    return fmt::format(
               "<figure><figcaption>{0}</figcaption>\n<svg class=\"plot\" role=\"img\" "
               "aria-label=\"{0}\" width=\"{1}\" height=\"{2}\" viewBox=\"0 0 {1} {2}\">\n",
               escape_markup(plot_.title), kWidth, kHeight) +
           inside() + "</svg>\n" + legend() + "</figure>\n";
  }

  bool is_empty() const { return is_empty_; }

  // Axes, lines and levels.
  std::string inside() const {
    std::string text = axes();
    for (std::size_t i = 0; i < plot_.lines.size(); ++i) text += line(i);
    for (const auto& [name, level] : plot_.levels) {
      text += fmt::format(
          "<line class=\"level\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n"
          "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
          kLeft, kWidth - kRight, at_y(level), at_y(level), kLeft + 4, at_y(level) - 4,
          escape_markup(name));
    }
    return text;
  }

  // A line below the other, to the right of the plot.
  std::string legend_beside() const {
    std::string text;
    for (std::size_t i = 0; i < plot_.lines.size(); ++i) {
      const double y = kTop + 8 + 17 * static_cast<double>(i);
      text += fmt::format(
          "<line class=\"line{}\" stroke-dasharray=\"{}\" x1=\"{}\" x2=\"{}\" y1=\"{}\" "
          "y2=\"{}\"/>\n<text x=\"{}\" y=\"{}\">{}</text>\n",
          i % 4, dashes(i), kWidth + 4, kWidth + 36, y, y, kWidth + 42, y + 4,
          escape_markup(plot_.lines[i].name));
    }
    return text;
  }

 private:
  double at_x(double x) const {
    return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
  }
  double at_y(double y) const {
    return kHeight - kBottom - (y - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }

  std::string axes() const {
    std::string text =
        fmt::format("<rect class=\"ground\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n",
                    kLeft, kTop, kWidth - kLeft - kRight, kHeight - kTop - kBottom);
    for (const double x : ticks_of(x_, 6)) {
      text += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.6g}</text>\n",
                          at_x(x), kHeight - kBottom + 16, x);
    }
    for (const double y : ticks_of(y_, 5)) {
      text += fmt::format(
          "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>\n"
          "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:.6g}</text>\n",
          kLeft, kWidth - kRight, at_y(y), kLeft - 6, at_y(y) + 4, y);
    }
    return text +
           fmt::format(
               "<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n"
               "<text x=\"14\" y=\"{:.1f}\" text-anchor=\"middle\" transform=\"rotate(-90 14 "
               "{:.1f})\">{}</text>\n",
               (kLeft + kWidth - kRight) / 2, kHeight - 6, escape_markup(plot_.x_name),
               kHeight / 2 - 10, kHeight / 2 - 10, escape_markup(plot_.y_name));
  }

  // Colour and dashes together are those of 16 lines.
  static const char* dashes(std::size_t index) { return kDashes[(index + index / 4) % 4]; }

  // At most some hundred points; of many, the least and the largest of each part are kept.
  std::string line(std::size_t index) const {
    const Line& drawn = plot_.lines[index];
    std::string points, marks;
    const std::size_t n = drawn.y.size(), parts = std::min<std::size_t>(n, 400);
    const auto put = [&](std::size_t i) {
      points += fmt::format("{:.1f},{:.1f} ", at_x(drawn.x[i]), at_y(drawn.y[i]));
      if (plot_.dots) {
        marks += fmt::format("<circle class=\"line{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>\n",
                             index % 4, at_x(drawn.x[i]), at_y(drawn.y[i]));
      }
    };
    for (std::size_t part = 0; part < parts; ++part) {
      std::size_t low = n, high = n;
      for (std::size_t i = part * n / parts; i < (part + 1) * n / parts; ++i) {
        if (!std::isfinite(drawn.y[i])) continue;
        if (low == n || drawn.y[i] < drawn.y[low]) low = i;
        if (high == n || drawn.y[i] > drawn.y[high]) high = i;
      }
      if (low == n) continue;
      put(std::min(low, high));
      if (low != high) put(std::max(low, high));
    }
    return fmt::format("<polyline class=\"line{}\" stroke-dasharray=\"{}\" points=\"{}\"/>\n{}",
                       index % 4, dashes(index), points, marks);
  }

  std::string legend() const {
    std::string text = "<p class=\"legend\">";
    for (std::size_t i = 0; i < plot_.lines.size(); ++i) {
      text += fmt::format(
          "<span><svg width=\"28\" height=\"10\"><line class=\"line{}\" stroke-dasharray=\"{}\" "
          "x1=\"0\" x2=\"28\" y1=\"5\" y2=\"5\"/></svg> {}</span> ",
          i % 4, dashes(i), escape_markup(plot_.lines[i].name));
    }
    return text + "</p>\n";
  }

  const Plot& plot_;
  Range x_, y_;
  bool is_empty_ = true;
};

}  // namespace

std::string plot_svg(const Plot& plot) { return Drawing(plot).svg(); }

const char* plot_style() { return kPlotStyle; }

std::string plots_svg(const std::string& title, const std::vector<Plot>& plots) {
  std::string body;
  double top = kTitle;
  for (const Plot& plot : plots) {
    const Drawing drawing(plot);
    if (drawing.is_empty()) continue;
    body += fmt::format(
        "<text class=\"title\" x=\"{}\" y=\"{}\">{}</text>\n<g transform=\"translate(0 {})\">\n",
        kLeft, top + 18, escape_markup(plot.title), top + kTitle);
    body += drawing.inside() + drawing.legend_beside() + "</g>\n";
    top += kTitle + kHeight;
  }
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"{0}\" "
             "width=\"{1}\" height=\"{2}\" viewBox=\"0 0 {1} {2}\">\n<style>{3}</style>\n"
             "<rect class=\"page\" width=\"{1}\" height=\"{2}\"/>\n"
             "<text class=\"title\" x=\"12\" y=\"18\">{0}</text>\n",
             escape_markup(title), kWidth + kLegend, top, kFileStyle) +
         body + "</svg>\n";
}

}  // namespace assay::verify::training
