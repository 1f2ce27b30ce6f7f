#include "verify/report/error_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "verify/report/markup.h"
#include "verify/subjects/subject.h"

namespace assay::verify {
namespace {

// All checkpoints of one cell, worst first.
using Cell = std::vector<const CheckpointRow*>;

struct MapRow {
  std::string name;
  std::map<int, Cell> cells;  // by layer
};

int severity(Status status) {
  switch (status) {
    case Status::fail:
      return 4;
    case Status::inconclusive:
      return 3;
    case Status::untrusted:
      return 2;
    case Status::skipped:
      return 1;
    case Status::pass:
      return 0;
  }
  return 4;
}

// NaN counts as the worst ratio.
double worst_ratio(const Cell& cell, double CheckpointRow::*ratio, bool CheckpointRow::*compared) {
  double worst = -1;
  for (const CheckpointRow* row : cell) {
    if (!(row->*compared)) continue;
    if (!(row->*ratio <= worst)) worst = row->*ratio;
    if (std::isnan(worst)) break;
  }
  return worst;
}

std::string ratio_text(double ratio) {
  if (!std::isfinite(ratio)) return "&infin;";
  if (ratio < 0) return "&ndash;";
  return ratio < 10     ? fmt::format("{:.2f}", ratio)
         : ratio < 1000 ? fmt::format("{:.0f}", ratio)
                        : fmt::format("{:.0e}", ratio);
}

const char* ratio_class(double ratio) {
  if (!(ratio <= 1)) return "out";
  if (ratio < 0) return "none";
  return ratio <= 0.1 ? "r1" : ratio <= 0.3 ? "r2" : ratio <= 0.6 ? "r3" : "r4";
}

std::string tooltip(const Cell& cell) {
  std::string text;
  for (const CheckpointRow* row : cell) {
    text += fmt::format("{} {}: {}, free {:.3g}, local {:.3g}\n", row->name,
                        golden::shape_text(row->shape), status_name(row->status), row->free_ratio,
                        row->local_ratio);
  }
  return escape_markup(text);
}

std::string cell_html(const Cell& cell, int columns) {
  const CheckpointRow& worst = *cell.front();
  const std::string open = fmt::format("<td{} class=\"{}\" title=\"{}\">",
                                       columns > 1 ? fmt::format(" colspan=\"{}\"", columns) : "",
                                       status_name(worst.status), tooltip(cell));
  if (worst.fault != Fault::none) {
    return fmt::format("{}<span class=\"out\">{}</span></td>", open, fault_name(worst.fault));
  }
  const double free = worst_ratio(cell, &CheckpointRow::free_ratio, &CheckpointRow::compared);
  const double local =
      worst_ratio(cell, &CheckpointRow::local_ratio, &CheckpointRow::local_compared);
  return fmt::format("{}<span class=\"{}\">{}</span><span class=\"{}\">{}</span></td>", open,
                     ratio_class(free), ratio_text(free), ratio_class(local), ratio_text(local));
}

// Rows in order of first appearance.
std::vector<MapRow> arrange(const std::vector<CheckpointRow>& rows) {
  std::vector<MapRow> map;
  for (const CheckpointRow& row : rows) {
    const MapPlace place = map_place(row.name);
    auto at = std::find_if(map.begin(), map.end(),
                           [&](const MapRow& each) { return each.name == place.row; });
    if (at == map.end()) at = map.insert(map.end(), MapRow{place.row, {}});
    at->cells[place.layer].push_back(&row);
  }
  for (MapRow& row : map) {
    for (auto& [layer, cell] : row.cells) {
      std::stable_sort(cell.begin(), cell.end(), [](const auto* a, const auto* b) {
        return severity(a->status) > severity(b->status);
      });
    }
  }
  return map;
}

}  // namespace

MapPlace map_place(const std::string& name) {
  // "grad/model.layers.3.mlp.up_proj.weight" stands in layer 3 as "grad/layers/3/mlp/up" does.
  std::string checkpoint = is_gradient(name) ? name.substr(std::string(kGrad).size()) : name;
  for (const std::string prefix : {"model.layers.", "transformer.h."}) {
    if (!checkpoint.starts_with(prefix)) continue;
    checkpoint.replace(0, prefix.size(), "layers/");
    const std::size_t dot = checkpoint.find('.');
    if (dot != std::string::npos) checkpoint[dot] = '/';
  }
  const auto end_of_number = [&](std::size_t from) {
    return std::min(checkpoint.find_first_not_of("0123456789", from), checkpoint.size());
  };
  const std::string layers = "layers/", recompute = "recompute/";
  const std::size_t digits = layers.size(), slash = end_of_number(digits);
  const bool in_layer = checkpoint.starts_with(layers) && slash > digits && slash - digits <= 6 &&
                        slash + 1 < checkpoint.size() && checkpoint[slash] == '/';
  if (!in_layer) return {checkpoint, -1};
  std::string row = checkpoint.substr(slash + 1);
  const int layer = std::stoi(checkpoint.substr(digits, slash - digits));
  if (row.starts_with(recompute)) {
    const std::size_t from = slash + 1 + recompute.size(), to = end_of_number(from);
    if (to > from && to < checkpoint.size() && checkpoint[to] == '/') {
      row = recompute + "*" + checkpoint.substr(to);
    }
  }
  return {row, layer};
}

std::string error_map_html(const std::vector<CheckpointRow>& rows) {
  int layers = 0;
  for (const CheckpointRow& row : rows) layers = std::max(layers, map_place(row.name).layer + 1);
  std::string html = "<table class=\"map\"><thead><tr><th>tensor</th>";
  for (int l = 0; l < layers; ++l) html += fmt::format("<th>layer {}</th>", l);
  html += "</tr></thead>\n<tbody>\n";
  for (const MapRow& row : arrange(rows)) {
    html += fmt::format("<tr><th>{}</th>", escape_markup(row.name));
    if (const auto whole = row.cells.find(-1); whole != row.cells.end()) {
      html += cell_html(whole->second, std::max(layers, 1));
    } else {
      for (int l = 0; l < layers; ++l) {
        const auto cell = row.cells.find(l);
        html += cell == row.cells.end() ? "<td></td>" : cell_html(cell->second, 1);
      }
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table>\n";
}

}  // namespace assay::verify
