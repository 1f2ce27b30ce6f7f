// The table of several candidates as lines and as HTML.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "verify/report/markup.h"
#include "verify/report/side_by_side.h"

namespace assay::verify {
namespace {

// What one candidate's columns, or one pair's, say of a checkpoint.
struct TableCell {
  std::string first = "-", second = "-", word = "-";
  Status status = Status::skipped;
};

TableCell candidate_cell(const CheckpointRow& row) {
  TableCell cell;
  cell.status = row.status;
  if (row.compared) cell.first = fmt::format("{:.3g}", row.free_ratio);
  if (row.local_compared) cell.second = fmt::format("{:.3g}", row.local_ratio);
  cell.word = row.fault == Fault::none ? status_name(row.status) : fault_name(row.fault);
  return cell;
}

TableCell pair_cell(const PairRow& row) {
  TableCell cell;
  if (row.elements == 0) return cell;
  cell.first = fmt::format("{:.2g}", row.largest);
  cell.second = fmt::format("{:.3g}", row.ratio);
  cell.word = row.same_bits ? "same bits" : row.parted == 0 ? "agree" : "part";
  cell.status = row.parted == 0 ? Status::pass : Status::fail;
  return cell;
}

struct ColumnGroup {
  std::string title, first, second, word;
  std::map<std::string, TableCell> cells;  // by checkpoint
};

std::vector<ColumnGroup> groups_of(const SideBySide& all) {
  std::vector<ColumnGroup> groups;
  for (const Candidate& one : all.candidates) {
    ColumnGroup group{one.label + ": error / bound", "free", "local", "verdict", {}};
    for (const CheckpointRow& row : one.rows) group.cells[row.name] = candidate_cell(row);
    groups.push_back(std::move(group));
  }
  for (const CandidatePair& pair : all.pairs) {
    const std::string title =
        all.candidates[pair.first].label + " - " + all.candidates[pair.second].label;
    ColumnGroup group{title, "largest", "/ bounds", "", {}};
    for (const PairRow& row : pair.rows) group.cells[row.name] = pair_cell(row);
    groups.push_back(std::move(group));
  }
  return groups;
}

TableCell cell_of(const ColumnGroup& group, const std::string& name) {
  const auto found = group.cells.find(name);
  return found == group.cells.end() ? TableCell() : found->second;
}

std::string trimmed(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

}  // namespace

std::string side_by_side_text(const SideBySide& all) {
  constexpr const char* kCell = "  {:>8} {:>8} {:<10}";
  const std::vector<std::string> names = all.names();
  std::size_t width = 10;
  for (const std::string& name : names) width = std::max(width, name.size());
  const std::vector<ColumnGroup> groups = groups_of(all);
  std::string titles = fmt::format("{:<{}}", "", width);
  std::string heads = fmt::format("{:<{}}", "checkpoint", width);
  for (const ColumnGroup& group : groups) {
    titles += fmt::format("  {:<28}", group.title);
    heads += fmt::format(kCell, group.first, group.second, group.word);
  }
  std::string text = trimmed(titles) + trimmed(heads);
  for (const std::string& name : names) {
    std::string line = fmt::format("{:<{}}", name, width);
    for (const ColumnGroup& group : groups) {
      const TableCell cell = cell_of(group, name);
      line += fmt::format(kCell, cell.first, cell.second, cell.word);
    }
    text += trimmed(line);
  }
  return text;
}

std::string side_by_side_html(const SideBySide& all) {
  const std::vector<ColumnGroup> groups = groups_of(all);
  std::string html =
      "<h2>Side by side</h2>\n<p>Of each candidate the largest error over its bound, free-running "
      "and local. Of each two the largest difference, and that over what both may deviate "
      "together: above 1 they part.</p>\n<table>";
  for (const Candidate& one : all.candidates) {
    html += fmt::format(
        "<tr><th>{}</th><td><code>{}</code></td><td class=\"{}\"><b>{}</b></td>"
        "<td>{}</td></tr>\n",
        one.label, escape_markup(one.subject), status_name(one.status), status_name(one.status),
        escape_markup(one.reason));
  }
  html += "</table>\n<div class=\"wide\"><table class=\"rows\"><thead><tr><th></th>";
  for (const ColumnGroup& group : groups) {
    html += fmt::format("<th colspan=\"3\">{}</th>", escape_markup(group.title));
  }
  html += "</tr>\n<tr><th>checkpoint</th>";
  for (const ColumnGroup& group : groups) {
    html += fmt::format("<th>{}</th><th>{}</th><th>{}</th>", group.first, group.second, group.word);
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const std::string& name : all.names()) {
    html += fmt::format("<tr><td>{}</td>", escape_markup(name));
    for (const ColumnGroup& group : groups) {
      const TableCell cell = cell_of(group, name);
      html += fmt::format("<td>{}</td><td>{}</td><td class=\"{}\"><b>{}</b></td>", cell.first,
                          cell.second, status_name(cell.status), cell.word);
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace assay::verify
