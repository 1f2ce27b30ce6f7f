#include <fmt/format.h>

#include <cmath>

#include "verify/report/markup.h"
#include "verify/report/page.h"
#include "verify/training/report/plot.h"
#include "verify/training/report/training_report.h"

namespace assay::verify::training {
namespace {

const char* class_of(State state) {
  switch (state) {
    case State::fired:
      return "fail";
    case State::quiet:
      return "pass";
    default:
      return "skipped";
  }
}

std::string findings_table(const Judgement& judgement) {
  std::string html =
      "<h2>Evidence</h2>\n<table><thead><tr><th></th><th>statistic</th><th>what came out</th>"
      "<th>fires at</th></tr></thead>\n<tbody>\n";
  for (const Finding& finding : judgement.findings) {
    std::string measured = escape_markup(finding.measured);
    for (const std::string& detail : finding.details) {
      measured += "<br><span class=\"faint\">" + escape_markup(detail) + "</span>";
    }
    if (!finding.supply.empty()) {
      measured += "<br><span class=\"faint\">supply: " + escape_markup(finding.supply) + "</span>";
    }
    html +=
        fmt::format("<tr><td class=\"{}\"><b>{}</b></td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                    class_of(finding.state), state_name(finding.state), escape_markup(finding.name),
                    measured, escape_markup(finding.limit));
  }
  return html + "</tbody></table>\n";
}

void add_series(Plot& plot, const char* name, const Series& series) {
  if (!series.empty()) plot.lines.push_back({name, series.steps, series.values});
}

std::string curve_plots(const Evidence& evidence) {
  const Curve& curve = evidence.curve;
  Plot loss{"Loss over the steps", "step", "nats a token", {}, {}, false};
  add_series(loss, "training", curve.train);
  add_series(loss, "val", curve.val);
  add_series(loss, "fresh", curve.fresh);
  if (evidence.rate) loss.levels.emplace_back("oracle", evidence.rate->nats);
  if (evidence.vocab) {
    loss.levels.emplace_back("log V", std::log(static_cast<double>(*evidence.vocab)));
  }
  Plot norm{"Gradient norm over the steps", "step", "norm", {}, {}, false};
  add_series(norm, "all", curve.grad_norm);
  Plot layers{"Gradient norm by layer, at the end", "layer", "norm", {}, {}, true};
  Line late{"last step", {}, {}}, first{"first step", {}, {}};
  for (const auto& [name, series] : curve.layers) {
    if (series.empty()) continue;
    late.x.push_back(static_cast<double>(late.x.size()));
    late.y.push_back(series.values.back());
    first.x.push_back(static_cast<double>(first.x.size()));
    first.y.push_back(series.values.front());
  }
  if (!late.x.empty()) layers.lines = {late, first};
  return plot_svg(loss) + plot_svg(norm) + plot_svg(layers);
}

std::string code_plot(const Evidence& evidence, const Judgement& judgement) {
  Plot plot{"Code length: what the model gained over the oracle", "token", "nats", {}, {}, false};
  for (const Set s : {kTrain, kVal, kFresh}) {
    const CodeLength& code = judgement.code[s];
    if (!code.ran) continue;
    plot.lines.push_back({kSetNames[s], code.path_tokens, code.path_sums});
  }
  if (plot.lines.empty()) return "";
  plot.levels.emplace_back(fmt::format("alarm at {:g}", evidence.alpha),
                           std::log(1 / evidence.alpha) + std::log(2.0));
  return "<p>On val and fresh, a model that is causal and has not seen the tokens stays below the "
         "dashed line, but with the stated probability. On its own training tokens every model "
         "gains.</p>\n" +
         plot_svg(plot);
}

// Mean of the losses, or of the oracle, at each position; of many positions, in parts.
Line by_position(const TokenSet& set, const std::vector<double>& values, const std::string& name) {
  constexpr int64_t kParts = 128;
  const int64_t parts = std::min(set.positions, kParts);
  std::vector<double> sums(static_cast<std::size_t>(parts), 0.0), counts(sums.size(), 0.0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!set.is_counted(i) || !std::isfinite(values[i])) continue;
    const auto part =
        static_cast<std::size_t>(static_cast<int64_t>(i) % set.positions * parts / set.positions);
    sums[part] += values[i];
    counts[part] += 1;
  }
  Line line{name, {}, {}};
  for (std::size_t part = 0; part < sums.size(); ++part) {
    if (counts[part] == 0) continue;
    const int64_t first = static_cast<int64_t>(part) * set.positions / parts;
    line.x.push_back(static_cast<double>(first));
    line.y.push_back(sums[part] / counts[part]);
  }
  return line;
}

std::string position_plot(const Evidence& evidence) {
  Plot plot{"Loss by position in the row", "position", "nats a token", {}, {}, false};
  for (const Set s : {kTrain, kVal, kFresh}) {
    const TokenSet& set = evidence.sets[s];
    if (!set.empty()) plot.lines.push_back(by_position(set, set.losses, kSetNames[s]));
  }
  const TokenSet& fresh = evidence.sets[kFresh];
  if (!fresh.oracle.empty()) plot.lines.push_back(by_position(fresh, fresh.oracle, "oracle"));
  return plot_svg(plot);
}

std::string offset_plot(const Judgement& judgement) {
  if (!judgement.offsets) return "";
  Plot plot{"Offset profile: the loss against x[t+k]", "k", "nats a token", {}, {}, true};
  Line line{"l(k)", {}, judgement.offsets->losses};
  for (int k = kFirstOffset; k <= kLastOffset; ++k) line.x.push_back(k);
  plot.lines.push_back(line);
  if (judgement.offsets->reported) {
    plot.levels.emplace_back("reported", *judgement.offsets->reported);
  }
  return plot_svg(plot);
}

std::string list_html(const char* title, const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string html = fmt::format("<h2>{}</h2>\n<ul>\n", title);
  for (const std::string& line : lines) html += "<li>" + escape_markup(line) + "</li>\n";
  return html + "</ul>\n";
}

}  // namespace

std::string html_text(const Evidence& evidence, const Judgement& judgement,
                      const std::string& command_line) {
  const int code = verdict_exit_code(judgement.verdict);
  const std::string name = verdict_name(judgement.verdict);
  std::string html = page_start(code == 0   ? Status::pass
                                : code == 1 ? Status::fail
                                            : Status::inconclusive,
                                name, "Training run", plot_style());
  html += "<p>" + escape_markup(judgement.reason) + "</p>\n";
  for (const Flag& flag : judgement.flags) {
    html += fmt::format("<p>Also <b>{}</b>: {}</p>\n", escape_markup(verdict_name(flag.verdict)),
                        escape_markup(flag.reason));
  }
  html += "<h2>Pictures</h2>\n" + curve_plots(evidence) + code_plot(evidence, judgement) +
          position_plot(evidence) + offset_plot(judgement) + findings_table(judgement) +
          list_html("Notes", judgement.notes) +
          list_html("What would decide more", judgement.supply);
  return html + fmt::format(
                    "<h2>The run</h2>\n<table><tr><th>command</th><td><code>{}</code></td></tr>"
                    "<tr><th>oracle</th><td><code>{}</code></td></tr></table>\n</body></html>\n",
                    escape_markup(command_line), escape_markup(evidence.oracle));
}

}  // namespace assay::verify::training
