// The four forms of a report: the same verdict in each, readable by a parser and with the network
// off.
#include "verify/report/report.h"

#include <boost/property_tree/xml_parser.hpp>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "golden/contract/error.h"
#include "tests/golden/sample.h"
#include "verify/report/error_map.h"
#include "verify/report/influence_map.h"
#include "verify/report/markup.h"

namespace assay::verify {
namespace {

using boost::property_tree::ptree;

Check check(const std::string& name, Status status, const std::string& summary) {
  Check made;
  made.name = name;
  made.status = status;
  made.summary = summary;
  made.details = {"a detail with <angles> & \"quotes\""};
  made.seconds = 0.25;
  return made;
}

CheckpointRow row(const std::string& name, double free, double local) {
  CheckpointRow made;
  made.name = name;
  made.shape = {2, 3};
  made.axes = "TD";
  made.compared = made.local_compared = true;
  made.elements = 6;
  made.free_ratio = free;
  made.local_ratio = local;
  made.free_outside = free <= 1 ? 0 : 1;
  made.local_outside = local <= 1 ? 0 : 1;
  made.status = free <= 1 && local <= 1 ? Status::pass : Status::fail;
  return made;
}

RunReport failing() {
  RunReport report;
  report.title = "method 1, <script>alert(1)</script>";
  report.command_line = "assay verify g&h.h5 --only 'layers/*'";
  report.golden_path = "g&h.h5";
  report.root_hash = "00112233445566778899aabbccddeeff";
  report.config_json = R"({"hidden_size":32})";
  report.method = "1";
  report.seed = 18446744073709551615u;
  report.subject = "a \"subject\"";
  report.checks = {check("numerics: local", Status::fail, "1 of 3 < 4"),
                   check("prefix", Status::pass, "fine"),
                   check("batch", Status::skipped, "one row has no neighbours"),
                   check("labels", Status::inconclusive, "cannot tell")};
  report.rows = {row("embed", 0, 0), row("layers/0/attn/q", 0.25, 0.5),
                 row("layers/1/attn/q", std::numeric_limits<double>::infinity(), 7)};
  report.first_divergence = {"FAIL /layers/1/attn/q", "     all at t1"};
  report.diagnosis = "equals zero";
  report.influence = InfluenceMatrix{2, {0, -1, 1, 0}};
  return report;
}

ptree parse_xml(const std::string& text) {
  std::istringstream stream(text);
  ptree tree;
  boost::property_tree::read_xml(stream, tree);
  return tree;
}

int count(const std::string& text, const std::string& part) {
  int times = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++times;
  }
  return times;
}

}  // namespace

BOOST_AUTO_TEST_CASE(json_says_what_the_run_found) {
  const auto json = nlohmann::json::parse(json_text(failing()));
  BOOST_TEST(json["assay_report"] == 1);
  BOOST_TEST(json["verdict"] == "fail");
  BOOST_TEST(json["exit_code"] == 1);
  BOOST_TEST(json["golden"]["seed"] == 18446744073709551615u);
  BOOST_TEST(json["golden"]["config"]["hidden_size"] == 32);
  BOOST_TEST(json["checks"].size() == 4u);
  BOOST_TEST(json["checks"][2]["status"] == "skipped");
  BOOST_TEST(json["checkpoints"][1]["free_ratio"] == 0.25);
  BOOST_TEST(json["checkpoints"][2]["free_ratio"].is_null());  // infinite
  BOOST_TEST(json["checkpoints"][2]["status"] == "fail");
  BOOST_TEST(json["influence"]["first_layer"][1][0] == 1);
  BOOST_TEST(json["first_divergence"][0] == "FAIL /layers/1/attn/q");
}

BOOST_AUTO_TEST_CASE(json_survives_bytes_that_are_not_utf_8) {
  RunReport report = failing();
  report.golden_path = "caf\xe9.h5";
  BOOST_TEST(nlohmann::json::parse(json_text(report))["golden"]["path"] == "caf\xef\xbf\xbd.h5");
}

BOOST_AUTO_TEST_CASE(junit_counts_only_passes_as_passed) {
  const ptree tree = parse_xml(junit_text(failing()));
  const ptree& suites = tree.get_child("testsuites");
  BOOST_TEST(suites.get<int>("<xmlattr>.tests") == 7);
  BOOST_TEST(suites.get<int>("<xmlattr>.failures") == 2);
  BOOST_TEST(suites.get<int>("<xmlattr>.errors") == 1);
  int failures = 0, errors = 0, skipped = 0, cases = 0;
  for (const auto& [suite_tag, suite] : suites) {
    for (const auto& [tag, test] : suite) {
      if (tag != "testcase") continue;
      ++cases;
      failures += static_cast<int>(test.count("failure"));
      errors += static_cast<int>(test.count("error"));
      skipped += static_cast<int>(test.count("skipped"));
    }
  }
  BOOST_TEST(cases == 7);
  BOOST_TEST(failures == 2);
  BOOST_TEST(errors == 1);
  BOOST_TEST(skipped == 1);
}

BOOST_AUTO_TEST_CASE(a_run_without_checks_is_no_pass_in_any_form) {
  RunReport report;
  BOOST_TEST(nlohmann::json::parse(json_text(report))["verdict"] == "inconclusive");
  BOOST_TEST(nlohmann::json::parse(json_text(report))["exit_code"] == 3);
  BOOST_TEST(parse_xml(junit_text(report)).get<int>("testsuites.<xmlattr>.errors") == 1);
  BOOST_TEST(count(terminal_text(report, false), "verdict: inconclusive") == 1);
  BOOST_TEST(count(html_text(report), "<p class=\"verdict inconclusive\">inconclusive</p>") == 1);
  BOOST_TEST(count(html_text(report), "Nothing was checked") == 1);
}

namespace {

// Two cases of a suite: one failed with a checkpoint outside, one passed.
RunReport suite() {
  RunReport failed = failing();
  failed.title = "1-llama <t33> bf16";
  RunReport passed;
  passed.title = "plain fp32";
  passed.checks = {check("numerics: ledger", Status::pass, "3 checkpoints")};
  passed.rows = {row("embed", 0.5, 0.25)};
  RunReport report;
  report.title = "suite mine, simt";
  report.golden_path = "mine";
  add_case(report, failed);
  add_case(report, passed);
  return report;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_suite_has_a_check_for_each_case_that_says_why_it_did_not_pass) {
  const RunReport report = suite();
  BOOST_REQUIRE(report.checks.size() == 2u);
  BOOST_TEST(report.checks[0].name == "1-llama <t33> bf16");
  BOOST_TEST((report.checks[0].status == Status::fail));
  BOOST_TEST(report.checks[0].details[0] == "fail: numerics: local: 1 of 3 < 4");
  BOOST_TEST((report.checks[1].status == Status::pass));
  BOOST_TEST(report.checks[1].summary ==
             "1 checkpoints, 6 elements; largest error / bound 0.5 free-running, 0.25 local");
  BOOST_TEST(report.checks[1].details.empty());
  BOOST_TEST(exit_code(report.checks) == 1);
}

BOOST_AUTO_TEST_CASE(a_case_that_was_not_judged_gives_the_reason) {
  RunReport report, unjudged;
  unjudged.title = "plain fp64";
  unjudged.checks = {check("subject", Status::skipped, "no device")};
  add_case(report, unjudged);
  BOOST_TEST((report.checks[0].status == Status::skipped));
  BOOST_TEST(report.checks[0].summary == "no device");
}

BOOST_AUTO_TEST_CASE(json_of_a_suite_keeps_every_check_and_checkpoint_of_its_cases) {
  const auto json = nlohmann::json::parse(json_text(suite()));
  BOOST_TEST(json["verdict"] == "fail");
  BOOST_TEST(json["checks"].size() == 2u);
  BOOST_REQUIRE(json["cases"].size() == 2u);
  BOOST_TEST(json["cases"][0]["title"] == "1-llama <t33> bf16");
  BOOST_TEST(json["cases"][0]["verdict"] == "fail");
  BOOST_TEST(json["cases"][0]["checks"].size() == 4u);
  BOOST_TEST(json["cases"][0]["checkpoints"].size() == 3u);
  BOOST_TEST(json["cases"][1]["checks"][0]["name"] == "numerics: ledger");
  BOOST_TEST(json["cases"][1]["checkpoints"][0]["free_ratio"] == 0.5);
}

// No case is counted twice: there is no suite of cases beside those of their checks.
BOOST_AUTO_TEST_CASE(junit_of_a_suite_has_a_suite_for_each_case) {
  const ptree tree = parse_xml(junit_text(suite()));
  const ptree& suites = tree.get_child("testsuites");
  BOOST_TEST(suites.count("testsuite") == 2u);
  BOOST_TEST(suites.get<std::string>("testsuite.<xmlattr>.name") == "1-llama <t33> bf16");
  BOOST_TEST(suites.get<int>("<xmlattr>.tests") == 9);
  BOOST_TEST(suites.get<int>("<xmlattr>.failures") == 2);
}

BOOST_AUTO_TEST_CASE(html_of_a_suite_shows_the_checks_of_every_case) {
  const std::string html = html_text(suite());
  BOOST_TEST(count(html, "<b>fail</b> 1-llama &lt;t33&gt; bf16</summary>") == 1);
  BOOST_TEST(count(html, "<td>numerics: ledger</td>") == 1);
}

// A run that judges dependences alone: its map is on the terminal, and no golden file is spoken of.
BOOST_AUTO_TEST_CASE(a_report_without_a_golden_file_names_none) {
  RunReport report;
  report.title = "method 1, [1,2]; simt";
  report.checks = {check("prefix", Status::pass, "fine")};
  report.influence = InfluenceMatrix{2, {0, -1, 1, 0}};
  const std::string text = terminal_text(report, false);
  BOOST_TEST(count(text, "root hash") == 0);
  BOOST_TEST(count(text, "\n   0 0.\n   1 10\n\nverdict: pass\n") == 1);
  BOOST_TEST(nlohmann::json::parse(json_text(report))["golden"]["path"].is_null());
  BOOST_TEST(count(html_text(report), "golden file") == 0);
  BOOST_TEST(count(terminal_text(failing(), false), "who sees whom") == 0);
}

BOOST_AUTO_TEST_CASE(a_proof_says_nothing_about_an_implementation) {
  RunReport report;
  report.checks = {check("structural proof", Status::pass, "causal for all inputs")};
  BOOST_TEST(count(html_text(report), "nothing is said about an implementation") == 1);
  BOOST_TEST(count(html_text(failing()), "nothing is said about an implementation") == 0);
}

BOOST_AUTO_TEST_CASE(worst_check_decides) {
  const auto verdict = [](const std::vector<Status>& all) {
    std::vector<Check> checks;
    for (const Status status : all) checks.push_back(check("x", status, ""));
    return overall(checks);
  };
  using enum Status;
  BOOST_TEST((verdict({pass, skipped}) == skipped));
  BOOST_TEST((verdict({skipped, skipped}) == skipped));
  BOOST_TEST((verdict({pass, inconclusive}) == inconclusive));
  BOOST_TEST((verdict({inconclusive, untrusted, pass}) == untrusted));
  BOOST_TEST((verdict({untrusted, fail, pass}) == fail));
  BOOST_TEST(exit_code({check("x", skipped, "")}) == 3);
}

BOOST_AUTO_TEST_CASE(html_needs_nothing_else_and_escapes_everything) {
  const std::string html = html_text(failing());
  for (const char* outside : {"http", "<script", "<link", "<img", "@import", "url("}) {
    BOOST_TEST(count(html, outside) == 0, outside);
  }
  BOOST_TEST(count(html, "&lt;script&gt;alert(1)&lt;/script&gt;") == 2);  // title and heading
  BOOST_TEST(count(html, "g&amp;h.h5") == 2);
  BOOST_TEST(count(html, "FAIL /layers/1/attn/q\n") == 1);
  BOOST_TEST(count(html, "<svg class=\"influence\"") == 1);
  BOOST_TEST(count(html, "</html>") == 1);
  // Every element that is opened is closed.
  for (const std::string tag : {"table", "tr", "td", "th", "tbody", "thead", "div", "span",
                                "details", "pre", "p", "ul", "li", "svg", "text"}) {
    BOOST_TEST(count(html, "<" + tag + ">") + count(html, "<" + tag + " ") ==
                   count(html, "</" + tag + ">"),
               tag);
  }
}

BOOST_AUTO_TEST_CASE(checkpoints_have_a_place_in_the_map) {
  const auto check_place = [](const std::string& name, const std::string& expected, int layer) {
    const MapPlace place = map_place(name);
    BOOST_TEST(place.row == expected);
    BOOST_TEST(place.layer == layer);
  };
  check_place("logits", "logits", -1);
  check_place("layers/12/attn/q", "attn/q", 12);
  check_place("layers/3/recompute/1/mlp_out", "recompute/*/mlp_out", 3);
  check_place("layers/x/attn", "layers/x/attn", -1);
}

BOOST_AUTO_TEST_CASE(the_map_shows_the_worst_of_a_cell) {
  std::vector<CheckpointRow> rows{row("layers/2/recompute/0/v", 0.1, 0.2),
                                  row("layers/2/recompute/1/v", 3.5, 0.1)};
  std::string html = error_map_html(rows);
  BOOST_TEST(count(html, "<span class=\"out\">3.50</span><span class=\"r2\">0.20</span>") == 1);
  rows[0].free_ratio = std::nan("");
  html = error_map_html(rows);
  BOOST_TEST(count(html, "<span class=\"out\">&infin;</span>") == 1);
  rows[1].fault = Fault::missing;
  rows[1].status = Status::fail;
  BOOST_TEST(count(error_map_html(rows), "<span class=\"out\">missing</span>") == 1);
}

BOOST_AUTO_TEST_CASE(the_future_has_a_colour_of_its_own) {
  const std::string causal = influence_map_svg({3, {0, -1, -1, 1, 0, -1, 1, 1, 0}});
  BOOST_TEST(count(causal, "<rect class=\"future\"") == 1);  // the legend's
  const std::string leaking = influence_map_svg({3, {0, -1, 2, 1, 0, -1, 1, 1, 0}});
  BOOST_TEST(count(leaking, "<rect class=\"future\"") == 2);
  BOOST_TEST(count(leaking, "position 0 sees token 2 from layer 1 on: the future") == 1);
}

// One character a pair; layers of two digits still take one.
BOOST_AUTO_TEST_CASE(the_map_as_text_marks_the_future) {
  const std::string text = influence_map_text({3, {0, -1, 2, 12, 0, -1, 1, 1, 0}});
  BOOST_TEST(text.substr(text.find('\n')) == "\n   0 0.!\n   1 90.\n   2 110\n");
}

BOOST_AUTO_TEST_CASE(markup_holds_no_byte_that_xml_refuses) {
  BOOST_TEST(escape_markup("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&#39;");
  BOOST_TEST(escape_markup(std::string("x\0y\x1b[31m", 8)) == "x?y?[31m");
  BOOST_TEST(escape_markup("caf\xc3\xa9 \xe2\x88\x9e \xf0\x9f\x99\x82") ==
             "caf\xc3\xa9 \xe2\x88\x9e \xf0\x9f\x99\x82");
  BOOST_TEST(escape_markup("\xe9\x80") == "??");
  BOOST_TEST(escape_markup("\xc0\xaf\xed\xa0\x80") == "?????");  // overlong, surrogate
}

BOOST_AUTO_TEST_CASE(a_report_that_cannot_be_written_says_why_and_leaves_nothing) {
  const golden::sample::TemporaryFolder folder;
  const std::string path = folder.file("no/such/folder/r.html");
  BOOST_CHECK_EXCEPTION(write_report("text", path), InputError, [&](const InputError& error) {
    return std::string(error.what()).find(path + ": cannot be written: No such file") == 0;
  });
  const std::string good = folder.file("r.html");
  write_report("first", good);
  write_report("second", good);
  std::ifstream file(good);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  BOOST_TEST(text == "second");
  const std::filesystem::directory_iterator files(std::filesystem::path(good).parent_path());
  BOOST_TEST(std::distance(begin(files), end(files)) == 1);
}

}  // namespace assay::verify
