// The report as one page of HTML.
#include <fmt/format.h>

#include <algorithm>

#include "verify/report/error_map.h"
#include "verify/report/influence_map.h"
#include "verify/report/markup.h"
#include "verify/report/report.h"
#include "verify/subjects/subject.h"

namespace assay::verify {
namespace {

// Colours come in two sets, for light and dark screens; nothing is told by colour alone.
constexpr const char* kStyle = R"css(
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --faint: #5c6670; --line: #d5dae0;
  --panel: #f5f7f9; --good: #1a7f4b; --bad: #b3261e; --warn: #8a5a00; --past: #1f5fa8;
  --r1: #eaf2fb; --r2: #cfe1f5; --r3: #a9c9ec; --r4: #7fb0e2; --on-ramp: #10243a; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --ink: #e4e8ec; --faint: #98a2ad;
  --line: #333a42; --panel: #1d2228; --good: #5fcf94; --bad: #ff8a80; --warn: #e6b450;
  --past: #79b4f2;
  --r1: #1c2733; --r2: #22364a; --r3: #2b4a69; --r4: #356291; --on-ramp: #e4eef8; } }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 76rem; background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
p { max-width: 48rem; }
.verdict { font-size: 1.2rem; font-weight: 700; margin: .25rem 0 1rem; }
.pass > b, .verdict.pass { color: var(--good); } .fail > b, .verdict.fail { color: var(--bad); }
.untrusted > b, .inconclusive > b, .skipped > b, .verdict.untrusted, .verdict.inconclusive,
.verdict.skipped { color: var(--warn); }
table { border-collapse: collapse; } th { text-align: left; font-weight: 600; }
td, th { padding: .2rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
code, pre, .map, .rows { font-family: ui-monospace, monospace; font-size: .85em; }
code { overflow-wrap: anywhere; }
pre { background: var(--panel); border-left: 3px solid var(--bad); padding: .8rem 1rem;
  overflow-x: auto; }
pre.detail { border-color: var(--line); margin: .3rem 0; white-space: pre-wrap; }
.wide { overflow-x: auto; }
.map td { padding: 1px; border: 0; } .map th { border: 0; padding: 0 .6rem 0 0; font-weight: 400; }
.map td span { display: inline-block; width: 3.4em; text-align: center; }
.map td span:only-child { width: 6.8em; }
.map td[colspan] span { width: calc(50% - 1px); } .map td[colspan] span:only-child { width: 100%; }
.r1 { background: var(--r1); } .r2 { background: var(--r2); } .r3 { background: var(--r3); }
.r4 { background: var(--r4); } .r1, .r2, .r3, .r4 { color: var(--on-ramp); }
.out { background: var(--bad); color: var(--ground); font-weight: 700; }
.none { color: var(--faint); }
.untrusted span { outline: 2px dotted var(--warn); outline-offset: -2px; }
.influence text { font: 10px ui-monospace, monospace; fill: var(--faint); }
.ground { fill: var(--panel); } .past { fill: var(--past); } .future { fill: var(--bad); }
.legend span { margin-right: 1rem; white-space: nowrap; } .faint { color: var(--faint); }
)css";

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
  const std::string verdict = status_name(overall(report.checks));
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<title>{0}: {1}</title>\n<style>{2}"
      "</style></head>\n<body>\n<h1>{1}</h1>\n<p class=\"verdict {0}\">{0}</p>\n",
      verdict, escape_markup(report.title), kStyle);
  html += first_divergence_html(report) + "<h2>Checks</h2>\n" + checks_table(report.checks) +
          map_html(report.rows);
  if (report.side_by_side) html += side_by_side_html(*report.side_by_side);
  html += cases_html(report.cases);
  if (report.influence) html += influence_html(*report.influence);
  return html + limits_html(report) + run_html(report) + rows_html(report.rows) +
         "</body></html>\n";
}

}  // namespace assay::verify
