// Suites become files: what is up to date is left alone, what is not is made again, and nothing of
// how it runs shows in the values.
#include "golden/generate/generate_suite.h"

#include <tbb/global_control.h>

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "golden/contract/error.h"
#include "golden/generate/suite_hashes.h"
#include "reference/numbers/array.h"
#include "tests/golden/sample.h"

using namespace assay;
using golden::CaseOutcome;
using golden::CaseState;
using golden::Suite;
using golden::SuiteCase;

namespace {

namespace fs = std::filesystem;

// Eight cases of suite ci: every method at two shapes.
Suite some_cases() { return golden::selected(golden::load_suite("ci"), "*-t33*"); }

golden::GenerateSuiteRequest into(const std::string& folder) {
  golden::GenerateSuiteRequest request;
  request.folder = folder;
  request.jobs = 2;
  return request;
}

int64_t count(const std::vector<CaseOutcome>& outcomes, CaseState state) {
  return std::count_if(outcomes.begin(), outcomes.end(),
                       [&](const CaseOutcome& outcome) { return outcome.state == state; });
}

std::vector<golden::CaseHash> committed() {
  return golden::parse_hash_lines(golden::committed_hashes("ci"), "ci.hashes");
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_second_run_writes_only_what_is_missing_or_differs) {
  const golden::sample::TemporaryFolder folder;
  Suite suite = some_cases();
  const auto all = static_cast<int64_t>(suite.cases.size());
  BOOST_TEST(count(golden::generate_suite(suite, into(folder.path())), CaseState::written) == all);
  BOOST_TEST(count(golden::generate_suite(suite, into(folder.path())), CaseState::up_to_date) ==
             all);

  fs::remove(golden::case_path(folder.path(), suite.cases[0]));
  suite.cases[1].settings.seed = 2;
  suite.cases[2].config.rope_theta = 500;
  suite.cases[3].left.resize(static_cast<std::size_t>(suite.cases[3].batch));
  suite.cases[3].left[0] = 1;
  suite.cases[4].settings.capture = golden::Capture::stats;
  // A bit of the manifest: the root hash is not intact.
  const std::string damaged = golden::case_path(folder.path(), suite.cases[5]);
  std::fstream file(damaged, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(fs::file_size(damaged)) - 100);
  file.put('\x5a');
  file.close();
  const std::vector<CaseOutcome> outcomes = golden::generate_suite(suite, into(folder.path()));
  const std::vector<std::string> why{"",        "another seed", "another config",
                                     "padding", "capture",      "does not match its hash"};
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    const bool again = i < why.size();
    BOOST_TEST((outcomes[i].state == (again ? CaseState::written : CaseState::up_to_date)),
               outcomes[i].name << ": " << outcomes[i].problem);
    if (again)
      BOOST_TEST(outcomes[i].problem.find(why[i]) != std::string::npos, outcomes[i].problem);
  }
  BOOST_TEST(count(golden::generate_suite(suite, into(folder.path())), CaseState::up_to_date) ==
             all);
}

// A killed run leaves some files and a partial one; the next run makes the others.
BOOST_AUTO_TEST_CASE(a_run_goes_on_where_a_killed_one_stopped) {
  const golden::sample::TemporaryFolder folder;
  const Suite suite = some_cases();
  golden::generate_case(suite.cases[3], golden::case_path(folder.path(), suite.cases[3]), false);
  std::ofstream(golden::case_path(folder.path(), suite.cases[0]) + ".partial-999999999") << "half";
  const std::vector<CaseOutcome> outcomes = golden::generate_suite(suite, into(folder.path()));
  BOOST_TEST(count(outcomes, CaseState::up_to_date) == 1);
  BOOST_TEST(count(outcomes, CaseState::written) == static_cast<int64_t>(suite.cases.size()) - 1);
  BOOST_TEST((outcomes[3].state == CaseState::up_to_date));
}

BOOST_AUTO_TEST_CASE(a_case_that_fails_does_not_stop_the_others) {
  const golden::sample::TemporaryFolder folder;
  Suite suite = some_cases();
  suite.cases[1].settings.data = golden::Data::exact;  // which this config does not allow
  fs::create_directory(golden::case_path(folder.path(), suite.cases[2]));  // a folder in its place
  const std::vector<CaseOutcome> outcomes = golden::generate_suite(suite, into(folder.path()));
  BOOST_TEST(count(outcomes, CaseState::failed) == 2);
  BOOST_TEST(count(outcomes, CaseState::written) == static_cast<int64_t>(suite.cases.size()) - 2);
  BOOST_TEST(outcomes[1].problem.find("exact weights: hidden_size") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_case_beyond_the_memory_budget_fails_before_it_starts) {
  const golden::sample::TemporaryFolder folder;
  const Suite suite = some_cases();
  golden::GenerateSuiteRequest request = into(folder.path());
  request.memory_bytes = golden::estimated_live_bytes(suite.cases[0]);
  const std::vector<CaseOutcome> outcomes = golden::generate_suite(suite, request);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    const bool fits = golden::estimated_live_bytes(suite.cases[i]) <= request.memory_bytes;
    BOOST_TEST((outcomes[i].state == (fits ? CaseState::written : CaseState::failed)));
    if (!fits) BOOST_TEST(outcomes[i].problem.find("raise --memory") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(no_case_takes_more_memory_than_estimated) {
  const golden::sample::TemporaryFolder folder;
  for (const std::string name : {"ci", "exact"}) {
    for (const SuiteCase& c : golden::load_suite(name).cases) {
      reference::reset_peak_bytes();
      golden::generate_case(c, folder.file("case.h5"), true);
      const auto peak = static_cast<double>(reference::peak_bytes());
      const auto estimate = static_cast<double>(golden::estimated_live_bytes(c));
      BOOST_TEST(peak <= estimate, c.name);
    }
  }
}

BOOST_AUTO_TEST_CASE(values_do_not_depend_on_threads_or_on_how_many_cases_run_at_once) {
  const Suite suite = golden::selected(golden::load_suite("ci"), "*-b3-*");
  for (const int threads : {1, 2, 4}) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                    static_cast<std::size_t>(threads));
    for (const int jobs : {1, 3}) {
      const auto differences = golden::differing_hashes(suite, golden::suite_hashes(suite, jobs),
                                                        committed(), false, "");
      for (const std::string& line : differences) {
        BOOST_ERROR(threads << " threads, " << jobs << " jobs: " << line);
      }
    }
  }
}

// A row of a batch is computed as if it were alone, every tensor of it, padding included.
BOOST_AUTO_TEST_CASE(a_row_alone_has_the_bits_of_the_row_in_a_batch) {
  const golden::sample::TemporaryFolder folder;
  for (const SuiteCase& batch : golden::selected(golden::load_suite("ci"), "*-b3-*").cases) {
    SuiteCase row = batch;  // row 0 has the same tokens, drawn first from the same stream
    row.batch = 1;
    row.left = {batch.left_of(0)};
    row.right = {batch.right_of(0)};
    golden::generate_case(batch, folder.file("batch.h5"), true);
    golden::generate_case(row, folder.file("row.h5"), true);
    const golden::GoldenReader all(folder.file("batch.h5")), alone(folder.file("row.h5"));
    int compared = 0;
    for (const golden::ManifestRow& due : alone.manifest()) {
      if (due.role != "forward" || due.shape.empty()) continue;  // the loss is a mean over rows
      const golden::Tensor one = alone.read_tensor(due.path), many = all.read_tensor(due.path);
      BOOST_TEST(std::equal(one.values.begin(), one.values.end(), many.values.begin()),
                 batch.name << ": " << due.path);
      ++compared;
    }
    BOOST_TEST(compared > 40);
  }
}

// exp(88.8) is the first that float32 does not hold. No row is one-hot, and in one that has many
// keys the largest probability is that of a softmax of scores of order 1.
BOOST_AUTO_TEST_CASE(raised_scores_overflow_where_no_maximum_is_subtracted_and_attention_is_soft) {
  const golden::sample::TemporaryFolder folder;
  for (const SuiteCase& c : golden::selected(golden::load_suite("ci"), "*-raised").cases) {
    golden::generate_case(c, folder.file("case.h5"), true);
    const golden::GoldenReader golden(folder.file("case.h5"));
    for (int layer = 0; layer < 3; ++layer) {
      const std::string attention = "/forward/layers/" + std::to_string(layer) + "/attn/";
      const std::vector<double> scores = golden.read_tensor(attention + "scores").values;
      const std::vector<double> probs = golden.read_tensor(attention + "probs").values;
      double least = INFINITY, most = 0, largest = 0;
      for (std::size_t i = 0; i < probs.size(); ++i) {
        if (probs[i] == 0) continue;  // masked
        least = std::min(least, scores[i]);
        most = std::max(most, scores[i]);
        if (i / 33 % 33 >= 16) largest = std::max(largest, probs[i]);  // query t = 16 .. 32
      }
      BOOST_TEST_MESSAGE(c.name << ", layer " << layer << ": scores " << least << " .. " << most
                                << ", largest probability behind 16 keys " << largest);
      BOOST_TEST(least > 300, c.name);
      BOOST_TEST(most < 1500, c.name);
      BOOST_TEST(largest < 0.999, c.name);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_hash_that_differs_names_the_case_and_the_first_tensor) {
  const golden::sample::TemporaryFolder folder;
  const Suite suite = golden::selected(golden::load_suite("ci"), "plain-*-b1-t33");
  // Files of another reference: the norm's eps stands for a defect that reaches layer 0 and on.
  SuiteCase other = suite.cases[0];
  other.config.rms_norm_eps = 1e-3;
  const CaseOutcome kept =
      golden::generate_case(other, golden::case_path(folder.path(), suite.cases[0]), false);
  const std::vector<std::string> lines = golden::differing_hashes(
      suite, golden::suite_hashes(suite, 1), {{kept.name, kept.root_hash}}, true, folder.path());
  BOOST_REQUIRE(lines.size() == 1u);
  BOOST_TEST(lines[0].starts_with(suite.cases[0].name + ": root hash: expected " + kept.root_hash));
  BOOST_TEST(
      lines[0].find("first differing tensor /forward/layers/0/attn_norm") != std::string::npos,
      lines[0]);
}

BOOST_AUTO_TEST_CASE(committed_lines_and_cases_have_to_be_the_same_ones) {
  const Suite suite = golden::selected(golden::load_suite("ci"), "plain-*-b1-*");
  const std::vector<golden::CaseHash> computed{{suite.cases[0].name, "0"},
                                               {suite.cases[1].name, "1"}};
  const auto lines = golden::differing_hashes(
      suite, computed, {{suite.cases[0].name, "0"}, {"gone", "2"}}, true, "");
  BOOST_REQUIRE(lines.size() == 2u);
  BOOST_TEST(lines[0].find("no committed root hash") != std::string::npos);
  BOOST_TEST(lines[1].find("the suite has no such case") != std::string::npos);
  BOOST_CHECK_THROW(golden::parse_hash_lines("12  short\n", "f"), InputError);
  const std::string text = golden::hash_lines({{"a", std::string(32, 'f')}});
  BOOST_TEST(golden::parse_hash_lines(text, "f")[0].name == "a");
}
