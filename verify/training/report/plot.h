// Line charts as SVG.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace assay::verify::training {

struct Line {
  std::string name;
  std::vector<double> x, y;  // what is not finite is left out
};

struct Plot {
  std::string title, x_name, y_name;
  std::vector<Line> lines;
  std::vector<std::pair<std::string, double>> levels;  // dashed, over the whole width
  bool dots = false;                                   // a mark at each point
};

// Legend and axes with numbers; colours of the page, and a dash pattern of each line's own, so that
// nothing is told by colour alone. "" where there is nothing to draw.
std::string plot_svg(const Plot& plot);

// What a page with such charts adds to its style (verify/report/page.h).
const char* plot_style();

// A file of its own: the plots that have something to draw, one below the other, each with its
// legend beside it.
std::string plots_svg(const std::string& title, const std::vector<Plot>& plots);

}  // namespace assay::verify::training
