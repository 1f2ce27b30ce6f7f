// served_run replay BACKEND METHOD REQUESTS: a trace that is drawn, through the server, each
// request compared with itself alone and with a whole pass.
// served_run tiered CASES: the tiered cache beside its plain definition.
// Prints "pass: .." or "FAULT .." with the first check that failed and what it found.
#include <fmt/format.h>

#include <exception>
#include <string>
#include <vector>

#include "cli/serving/replay.h"
#include "golden/contract/random.h"
#include "tests/cli/systems/tiered_subject.h"

namespace {

using namespace assay;

// Short ones, and every ninth so long that it waits for blocks.
cli::Trace drawn_trace(int64_t requests) {
  std::vector<uint32_t> words(static_cast<std::size_t>(3 * requests));
  golden::random_words(11, golden::stream_id("trace"), 0, words);
  cli::Trace trace;
  double time_s = 0;
  for (int64_t i = 0; i < requests; ++i) {
    const auto word = [&](int64_t k) { return words[static_cast<std::size_t>(3 * i + k)]; };
    time_s += 1e-5 * static_cast<double>(word(0) % 1000);
    cli::TraceRow row;
    row.id = fmt::format("r{}", i);
    row.arrival_s = time_s;
    row.prompt_tokens = i % 9 == 4 ? 40 : 1 + word(1) % 14;
    if (i % 4 == 3) {  // these begin alike
      for (int64_t t = 0; t < row.prompt_tokens; ++t) {
        row.tokens.push_back(static_cast<int32_t>(t < 6 ? t : word(1) % 60));
      }
    }
    row.new_tokens = 1 + word(2) % 9;
    trace.rows.push_back(std::move(row));
  }
  return trace;
}

std::vector<verify::Check> replayed(const std::string& backend, const std::string& method,
                                    int64_t requests) {
  golden::ModelConfig config = golden::preset("tiny");
  config.method = method;
  const golden::SyntheticWeights weights(config, 1);
  cli::ReplayOptions options;
  options.server = {
      .max_batch = 4, .max_wait_s = 0.004, .prefill_chunk = 9, .overtaking = 3, .shared_prefix = 1};
  options.capacity = 56;
  options.blocks = {8, 8};
  options.checked = -1;
  cli::Replay replay = cli::replay(
      drawn_trace(requests), cli::step_models(backend, "", config, weights), options, nullptr);
  for (const cli::ServedRequest& served : replay.requests) {
    if (served.outcome.end != serving::End::failed) continue;
    replay.checks.push_back(
        {.name = "serving: failed",
         .status = verify::Status::fail,
         .summary = fmt::format("request {}: {}", served.id, served.outcome.why),
         .details = {}});
  }
  return std::move(replay.checks);
}

}  // namespace

int main(int count, char** words) try {
  const std::vector<std::string> given(words + 1, words + count);
  std::vector<verify::Check> checks;
  if (given.size() == 4 && given[0] == "replay") {
    checks = replayed(given[1], given[2], std::stoll(given[3]));
  } else if (given.size() == 2 && given[0] == "tiered") {
    checks = {verify::check_tiered(systems_test::engine_tiers, std::stoll(given[1]), 1)};
  } else {
    fmt::print("served_run: expected replay BACKEND METHOD REQUESTS, or tiered CASES\n");
    return 2;
  }
  for (const verify::Check& check : checks) {
    if (check.status == verify::Status::pass) continue;
    fmt::print("FAULT {}: {}\n", check.name,
               check.details.empty() ? check.summary : check.details.front());
    return 1;
  }
  fmt::print("pass: {} checks\n", checks.size());
  for (const verify::Check& check : checks) fmt::print("{}\n", check.summary);
  return checks.empty() ? 1 : 0;
} catch (const std::exception& error) {
  fmt::print("FAULT: {}\n", error.what());
  return 1;
}
