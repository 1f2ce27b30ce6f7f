#include <fmt/format.h>

#include <algorithm>

#include "cli/serving/serving_report.h"
#include "verify/report/markup.h"
#include "verify/report/page.h"
#include "verify/report/report.h"
#include "verify/training/report/plot.h"

namespace assay::cli {
namespace {

using verify::escape_markup;
using verify::training::Line;
using verify::training::Plot;
using verify::training::plot_svg;

constexpr std::size_t kMostPoints = 400;

// Means of as many parts as a picture shows.
Line averaged(const std::string& name, const std::vector<double>& x, const std::vector<double>& y) {
  Line line{name, {}, {}};
  const std::size_t part = std::max<std::size_t>(1, (x.size() + kMostPoints - 1) / kMostPoints);
  for (std::size_t i = 0; i < x.size(); i += part) {
    const std::size_t end = std::min(i + part, x.size());
    double sum_x = 0, sum_y = 0;
    for (std::size_t k = i; k < end; ++k) {
      sum_x += x[k];
      sum_y += y[k];
    }
    line.x.push_back(sum_x / static_cast<double>(end - i));
    line.y.push_back(sum_y / static_cast<double>(end - i));
  }
  return line;
}

std::string step_plot(const Replay& replay) {
  std::vector<double> times, batches, queues;
  for (const ServedStep& step : replay.steps) {
    times.push_back(step.time_s);
    batches.push_back(static_cast<double>(step.batch));
    queues.push_back(static_cast<double>(step.waiting));
  }
  Plot plot{"Requests in a step, and waiting", "seconds", "requests", {}, {}, false};
  plot.lines = {averaged("in the step", times, batches), averaged("waiting", times, queues)};
  return plot_svg(plot);
}

// Latency against the share of requests that have no more.
std::string latency_plot(const Latencies& latencies) {
  if (latencies.seconds.empty()) return "";
  Line line{latencies.name, {}, {}};
  for (std::size_t i = 0; i <= 100; ++i) {
    line.x.push_back(static_cast<double>(i));
    line.y.push_back(1e3 * percentile(latencies.seconds, static_cast<double>(i) / 100));
  }
  Plot plot{"Latency: " + latencies.name, "percentile", "ms", {line}, {}, false};
  return plot_svg(plot);
}

std::string row_html(const std::string& name, const std::string& value) {
  return fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", escape_markup(name),
                     escape_markup(value));
}

std::string totals_html(const ServingRun& run) {
  const serving::Statistics& s = run.replay.statistics;
  return "<h2>Totals</h2>\n<table>\n" +
         row_html("requests", fmt::format("{}: {} finished, {} rejected, {} cancelled, {} failed",
                                          run.replay.requests.size(), s.finished,
                                          run.replay.rejected(), s.cancelled, s.failed)) +
         row_html("tokens", fmt::format("{} of prompts read, {} shared, {} new", s.prompt_tokens,
                                        s.shared_tokens, s.new_tokens)) +
         row_html("batch size", fmt::format("{:.2f} requests on average, {} at most, {} steps",
                                            s.batch_size.mean(), s.batch_size.largest(), s.steps)) +
         row_html("waiting", fmt::format("{:.3f} ms on average, {:.3f} ms at most",
                                         1e3 * s.wait_s.mean(), 1e3 * s.wait_s.largest())) +
         row_html("throughput", fmt::format("{:.1f} new tokens/s in {:.3f} s of steps; {:.3f} s in "
                                            "all ({})",
                                            s.new_tokens_per_second(), s.busy_s,
                                            run.replay.elapsed_s, run.clock)) +
         "</table>\n";
}

std::string latency_table(const std::vector<Latencies>& all) {
  std::string html =
      "<h2>Latency</h2>\n<table><thead><tr><th></th><th>p50</th><th>p90</th><th>p99</th>"
      "<th>values</th></tr></thead>\n<tbody>\n";
  for (const Latencies& of : all) {
    if (of.seconds.empty()) continue;
    html += fmt::format(
        "<tr><th>{}</th><td>{:.3f} ms</td><td>{:.3f} ms</td><td>{:.3f} ms</td><td>{}</td></tr>\n",
        escape_markup(of.name), 1e3 * percentile(of.seconds, 0.5),
        1e3 * percentile(of.seconds, 0.9), 1e3 * percentile(of.seconds, 0.99), of.seconds.size());
  }
  return html + "</tbody></table>\n";
}

std::string checks_html(const Replay& replay) {
  std::string html = "<h2>Checks</h2>\n<table><tbody>\n";
  for (const verify::Check& check : replay.checks) {
    const std::string status = verify::status_name(check.status);
    html += fmt::format("<tr><td class=\"{0}\"><b>{0}</b></td><td>{1}</td><td>{2}", status,
                        escape_markup(check.name), escape_markup(check.summary));
    if (!check.details.empty()) {
      html += "<pre class=\"detail\">" + escape_markup(check.details) + "</pre>";
    }
    html += "</td></tr>\n";
  }
  return html + "</tbody></table>\n";
}

}  // namespace

std::string serving_html(const ServingRun& run) {
  const verify::Status status = serving_status(run.replay);
  const std::vector<Latencies> latencies = latencies_of(run.replay);
  std::string html = verify::page_start(status, verify::status_name(status), "Replayed requests",
                                        verify::training::plot_style());
  html +=
      totals_html(run) + latency_table(latencies) + "<h2>Pictures</h2>\n" + step_plot(run.replay);
  for (const Latencies& of : latencies) html += latency_plot(of);
  html += checks_html(run.replay) + "<h2>The run</h2>\n<table>\n" +
          row_html("command", run.command_line) + row_html("trace", run.trace_path) +
          row_html("read as", run.read_as) + row_html("model", run.model) + "</table>\n";
  return html + "</body></html>\n";
}

}  // namespace assay::cli
