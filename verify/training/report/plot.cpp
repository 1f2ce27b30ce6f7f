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
    std::string text = fmt::format(
        "<figure><figcaption>{0}</figcaption>\n<svg class=\"plot\" role=\"img\" "
        "aria-label=\"{0}\" width=\"{1}\" height=\"{2}\" viewBox=\"0 0 {1} {2}\">\n",
        escape_markup(plot_.title), kWidth, kHeight);
    text += axes();
    for (std::size_t i = 0; i < plot_.lines.size(); ++i) text += line(i);
    for (const auto& [name, level] : plot_.levels) {
      text += fmt::format(
          "<line class=\"level\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n"
          "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
          kLeft, kWidth - kRight, at_y(level), at_y(level), kWidth - kRight - 4, at_y(level) - 4,
          escape_markup(name));
    }
    return text + "</svg>\n" + legend() + "</figure>\n";
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
                       index % 4, kDashes[index % 4], points, marks);
  }

  std::string legend() const {
    std::string text = "<p class=\"legend\">";
    for (std::size_t i = 0; i < plot_.lines.size(); ++i) {
      text += fmt::format(
          "<span><svg width=\"28\" height=\"10\"><line class=\"line{}\" stroke-dasharray=\"{}\" "
          "x1=\"0\" x2=\"28\" y1=\"5\" y2=\"5\"/></svg> {}</span> ",
          i % 4, kDashes[i % 4], escape_markup(plot_.lines[i].name));
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

}  // namespace assay::verify::training
