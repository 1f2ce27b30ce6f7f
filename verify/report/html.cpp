// The report as one page of HTML.
#include <fmt/format.h>

#include <algorithm>

#include "verify/report/error_map.h"
#include "verify/report/influence_map.h"
#include "verify/report/markup.h"
#include "verify/report/page.h"
#include "verify/report/report.h"
#include "verify/subjects/subject.h"

namespace assay::verify {
namespace {

std::string run_html(const RunReport& report) {
  const auto row = [](const char* name, const std::string& value) {
    return value.empty() ? ""
                         : fmt::format("<tr><th>{}</th><td><code>{}</code></td></tr>\n", name,
                                       escape_markup(value));
  };
  return "<h2>The run</h2>\n<table>" + row("command", report.command_line) +
         row("subject", report.subject) + row("golden file", report.golden_path) +
         row("root hash", report.root_hash) + row("method", report.method) +
         row("seed", fmt::format("{}", report.seed)) + row("config", report.config_json) +
         "</table>\n";
}

std::string checks_table(const std::vector<Check>& checks) {
  if (checks.empty()) return "<p>Nothing was checked.</p>\n";
  std::string html =
      "<table><thead><tr><th>verdict</th><th>check</th><th>what came out</th>"
      "<th>seconds</th></tr></thead>\n<tbody>\n";
  for (const Check& check : checks) {
    html += fmt::format("<tr><td class=\"{0}\"><b>{0}</b></td><td>{1}</td><td>{2}",
                        status_name(check.status), escape_markup(check.name),
                        escape_markup(check.summary));
    if (!check.details.empty()) {
      html +=
          fmt::format("<details><summary>details</summary><pre class=\"detail\">{}</pre></details>",
                      escape_markup(check.details));
    }
    html += fmt::format("</td><td>{:.2f}</td></tr>\n", check.seconds);
  }
  return html + "</tbody></table>\n";
}

std::string first_divergence_html(const RunReport& report) {
  if (report.first_divergence.empty()) return "";
  return "<h2>First divergence</h2>\n<pre>" + escape_markup(report.first_divergence) + "</pre>\n";
}

std::string gradients_html(const std::vector<CheckpointRow>& gradients) {
  if (gradients.empty()) return "";
  return "<h2>Gradients</h2>\n"
         "<p>Likewise, from the loss backwards; right recomputed by the reference's backward rules "
         "from the subject's own tensors, and from its own gradients nearer to the loss.</p>\n"
         "<div class=\"wide\">" +
         error_map_html(gradients) + "</div>\n";
}

std::string tensors_html(const std::vector<CheckpointRow>& rows) {
  if (rows.empty()) return "";
  return "<h2>Where the error is</h2>\n"
         "<p>Largest error of each tensor over its bound: left free-running (the subject's own "
         "activations all the way), right local (recomputed from the very inputs that the subject "
         "used). Above 1 is outside. A dash was not compared; a dotted frame marks data that "
         "cannot show a defect. Several recomputed layers share a cell: the worst is shown.</p>\n"
         "<div class=\"wide\">" +
         error_map_html(rows) + "</div>\n";
}

std::string map_html(const std::vector<CheckpointRow>& rows) {
  std::vector<CheckpointRow> tensors, gradients;
  for (const CheckpointRow& row : rows) {
    (is_gradient(row.name) ? gradients : tensors).push_back(row);
  }
  return tensors_html(tensors) + gradients_html(gradients);
}

std::string influence_html(const InfluenceMatrix& influence) {
  return "<h2>Who sees whom</h2>\n<p>Row: a position. Column: a token. A filled cell: changing the "
         "token changed some tensor of the position, bit for bit. A causal implementation fills "
         "the lower triangle and nothing else.</p>\n<div class=\"wide\">" +
         influence_map_svg(influence) + "</div>\n";
}

std::string rows_html(const std::vector<CheckpointRow>& rows) {
  if (rows.empty()) return "";
  std::string html =
      "<h2>Every checkpoint</h2>\n<details><summary>in order of execution, then gradients from the "
      "loss backwards</summary><div class=\"wide\"><table "
      "class=\"rows\"><thead><tr><th>checkpoint</th><th>shape</th>"
      "<th>verdict</th><th>free</th><th>sigmas</th><th>local</th><th>rms error</th>"
      "<th>golden rms</th><th>bound / rms</th><th>note</th></tr></thead>\n<tbody>\n";
  for (const CheckpointRow& row : rows) {
    html += fmt::format(
        "<tr><td>{}</td><td>{}</td><td class=\"{}\"><b>{}</b></td><td>{:.3g}</td><td>{:.3g}</td>"
        "<td>{:.3g}</td><td>{:.2e}</td><td>{:.2e}</td><td>{:.1e}</td><td>{}</td></tr>\n",
        escape_markup(row.name), golden::shape_text(row.shape), status_name(row.status),
        status_name(row.status), row.free_ratio, row.free_sigmas, row.local_ratio, row.rms_error,
        row.golden_rms, row.relative_bound, escape_markup(row.note));
  }
  return html + "</tbody></table></div></details>\n";
}

std::string cases_html(const std::vector<RunReport>& cases) {
  if (cases.empty()) return "";
  std::string html = "<h2>Every case</h2>\n";
  for (const RunReport& report : cases) {
    const std::string verdict = status_name(overall(report.checks));
    html += fmt::format(
        "<details><summary class=\"{0}\"><b>{0}</b> {1}</summary>\n<p><code>{2}</code></p>\n{3}{4}"
        "</details>\n",
        verdict, escape_markup(report.title), escape_markup(report.command_line),
        checks_table(report.checks), map_html(report.rows));
  }
  return html;
}

std::string limits_html(const RunReport& report) {
  double blind = 0;
  for (const CheckpointRow& row : report.rows) {
    if (row.compared) blind = std::max(blind, row.relative_bound);
  }
  const bool ran = !report.rows.empty() || !report.cases.empty() || report.influence;
  std::string html = "<h2>What a pass does not prove</h2>\n<ul>\n";
  if (!ran) {
    return html + "<li>No subject ran: nothing is said about an implementation.</li>\n</ul>\n";
  }
  html +=
      "<li>It speaks of these tokens and weights, and of their shape; not of other lengths, tiles "
      "or inputs.</li>\n";
  if (blind > 0) {
    html += fmt::format(
        "<li>An error that is smaller than a checkpoint's bound passes. The widest free-running "
        "bound here is {:.1e} of its tensor's rms; the local bounds are tighter.</li>\n",
        blind);
  }
  html += report.influence
              ? "<li>The detectors compare bits: what never changed a bit at these cuts and "
                "suffixes is not seen.</li>\n"
              : "<li>No leak detector ran: nothing is said about the future (add "
                "<code>--leakage</code>).</li>\n";
  const bool gradients = std::any_of(report.rows.begin(), report.rows.end(),
                                     [](const auto& row) { return is_gradient(row.name); });
  return html + (gradients ? "<li>No decoding.</li>\n</ul>\n"
                           : "<li>Forward pass only: no gradients, no decoding.</li>\n</ul>\n");
}

}  // namespace

std::string html_text(const RunReport& report) {
  const Status status = overall(report.checks);
  std::string html = page_start(status, status_name(status), report.title, "");
  html += first_divergence_html(report) + "<h2>Checks</h2>\n" + checks_table(report.checks) +
          map_html(report.rows);
  if (report.side_by_side) html += side_by_side_html(*report.side_by_side);
  html += cases_html(report.cases);
  if (report.influence) html += influence_html(*report.influence);
  return html + limits_html(report) + run_html(report) + rows_html(report.rows) +
         "</body></html>\n";
}

}  // namespace assay::verify
