#include "verify/report/page.h"

#include <fmt/format.h>

#include "verify/report/markup.h"

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

}  // namespace

std::string page_start(Status status, const std::string& verdict, const std::string& title,
                       const std::string& style) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<title>{1}: {2}</title>\n<style>{3}{4}"
      "</style></head>\n<body>\n<h1>{2}</h1>\n<p class=\"verdict {0}\">{1}</p>\n",
      status_name(status), escape_markup(verdict), escape_markup(title), kStyle, style);
}

}  // namespace assay::verify
