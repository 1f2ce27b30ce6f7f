#include "cli/train/study_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "golden/contract/methods.h"
#include "verify/training/report/plot.h"

namespace assay::cli {
namespace {

using verify::training::Line;
using verify::training::Plot;

std::string group_of(const StudyForm& form) {
  if (!form.known_wrong.empty()) return "Forms that are known to be wrong";
  if (form.residual == "replace") return "residual = replace";
  switch (golden::find_method(form.method).family) {
    case golden::Family::score_accumulation:
      return "Scores accumulated over layers";
    case golden::Family::score_factors:
      return "A factor on scores";
    case golden::Family::prob_transformer:
      return "Probabilistic Transformer";
    default:
      return "Plain, and earlier layers run again";
  }
}

// A plot for each group, in the order in which they first appear. A line that is empty is left out.
std::vector<Plot> plots_of(const std::vector<StudyRow>& rows, const Plot& frame,
                           const std::function<Line(const StudyRow&)>& line_of) {
  std::vector<Plot> plots;
  for (const StudyRow& row : rows) {
    Line line = row.runs.empty() ? Line{} : line_of(row);
    if (line.y.empty()) continue;
    const std::string group = group_of(row.form);
    auto plot = std::find_if(plots.begin(), plots.end(),
                             [&](const Plot& known) { return known.title == group; });
    if (plot == plots.end()) {
      plots.push_back(frame);
      plot = std::prev(plots.end());
      plot->title = group;
      const bool beside = &row != &rows.front() && !rows.front().runs.empty();
      if (beside) plot->lines.push_back(line_of(rows.front()));
    }
    plot->lines.push_back(std::move(line));
  }
  return plots;
}

}  // namespace

std::string study_losses_svg(const std::vector<StudyRow>& rows) {
  Plot frame{"", "step", "val, nats a token", {}, {}, false};
  double most = std::numeric_limits<double>::infinity();
  for (const StudyRow& row : rows) {
    if (row.runs.empty() || !row.runs.front().oracle) continue;
    const double uniform = std::log(static_cast<double>(row.runs.front().vocab));
    frame.levels = {{"oracle", *row.runs.front().oracle}, {"log V", uniform}};
    most = 1.25 * uniform;
    break;
  }
  const auto line_of = [most](const StudyRow& row) {
    Line line{row.form.name, row.runs.front().val.steps, {}};
    for (std::size_t i = 0; i < line.x.size(); ++i) {
      double sum = 0;
      for (const StudyRun& run : row.runs) {
        sum += i < run.val.values.size() ? run.val.values[i] : NAN;
      }
      line.y.push_back(std::min(sum / static_cast<double>(row.runs.size()), most));
    }
    return line;
  };
  return plots_svg("Loss of val over the steps; what is above 1.25 log V is drawn there",
                   plots_of(rows, frame, line_of));
}

std::string study_gradients_svg(const std::vector<StudyRow>& rows) {
  const Plot frame{"", "layer", "log10 of the norm", {}, {}, true};
  const auto line_of = [](const StudyRow& row) {
    Line line{row.form.name, {}, {}};
    for (std::size_t layer = 0; layer < row.runs.front().mean_norms.size(); ++layer) {
      double sum = 0;
      for (const StudyRun& run : row.runs) sum += std::log10(run.mean_norms.at(layer));
      line.x.push_back(static_cast<double>(layer));
      line.y.push_back(sum / static_cast<double>(row.runs.size()));
    }
    return line;
  };
  return plots_svg("Gradient norm by layer, geometric mean over steps and seeds",
                   plots_of(rows, frame, line_of));
}

}  // namespace assay::cli
