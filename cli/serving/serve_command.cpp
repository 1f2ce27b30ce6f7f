// assay serve-sim: a trace of requests through the server with dynamic batching.
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>

#include "cli/command.h"
#include "cli/model_options.h"
#include "cli/process/stop.h"
#include "cli/report_options.h"
#include "cli/serving/serving_report.h"
#include "golden/contract/error.h"
#include "golden/exchange/checkpoint.h"

namespace assay::cli {
namespace {

struct ServeOptions {
  ModelOptions model;
  ReportOptions report;
  std::string trace, backend = "reference", precision, clock = "simulated", time_unit, check;
  double max_wait_ms = 10, step_ms = 5, token_ms = 0.1, speed = 1;
  std::optional<double> rate;
  std::optional<int64_t> requests, cache_blocks;
  int64_t block_size = 16, prefill_chunk = 0, overtaking = 8, max_queue = 0, shrink = 1,
          share_prefix = 0;
};

void require_positive(const char* name, double value, bool zero_too) {
  if (std::isfinite(value) && (value > 0 || (zero_too && value == 0))) return;
  throw InputError(
      fmt::format("{} {}: expected a number {}", name, value, zero_too ? ">= 0" : "> 0"));
}

int64_t checked_requests(const std::string& text) {
  if (text.empty()) return 0;
  if (text == "all") return -1;
  int64_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, count);
  if (error == std::errc() && at == end && count >= 1) return count;
  throw InputError(fmt::format("--check {}: expected all, or a number of requests of at least 1",
                               golden::printable(text)));
}

ReplayOptions replay_options(const ServeOptions& options) {
  require_at_least("--prefill-chunk", options.prefill_chunk, 0);
  require_at_least("--overtaking", options.overtaking, 0);
  require_at_least("--max-queue", options.max_queue, 0);
  require_at_least("--share-prefix", options.share_prefix, 0);
  require_at_least("--shrink", options.shrink, 1);
  require_at_least("--block-size", options.block_size, 1);
  if (options.cache_blocks) require_at_least("--cache-blocks", *options.cache_blocks, 1);
  if (options.requests) require_at_least("--requests", *options.requests, 1);
  require_positive("--max-wait-ms", options.max_wait_ms, true);
  require_positive("--step-ms", options.step_ms, true);
  require_positive("--token-ms", options.token_ms, true);
  require_positive("--speed", options.speed, false);
  if (options.rate) require_positive("--rate", *options.rate, false);
  if (options.clock != "simulated" && options.clock != "wall") {
    throw InputError(
        fmt::format("--clock {}: expected simulated or wall", golden::printable(options.clock)));
  }
  return {.server = {.max_batch = options.model.batch,
                     .max_wait_s = 1e-3 * options.max_wait_ms,
                     .prefill_chunk = options.prefill_chunk,
                     .overtaking = options.overtaking,
                     .max_queue = options.max_queue,
                     .shared_prefix = options.share_prefix},
          .capacity = options.model.positions,
          .cost = {1e-3 * options.step_ms, 1e-3 * options.token_ms},
          .wall = options.clock == "wall",
          .blocks = {options.cache_blocks.value_or(0), options.block_size},
          .rate = options.rate,
          .speed = options.speed,
          .shrink = options.shrink,
          .seed = options.model.seed,
          .checked = checked_requests(options.check)};
}

std::optional<double> time_unit_seconds(const std::string& unit) {
  if (unit.empty()) return std::nullopt;
  if (unit == "s") return 1;
  if (unit == "ms") return 1e-3;
  if (unit == "us") return 1e-6;
  if (unit == "ns") return 1e-9;
  throw InputError(
      fmt::format("--time-unit {}: expected s, ms, us or ns", golden::printable(unit)));
}

// A bar on a terminal; nothing in a log.
ReplayProgress progress_bar(std::size_t requests, bool quiet) {
  if (quiet || isatty(STDERR_FILENO) == 0) return nullptr;
  return [requests, shown = int64_t{-1}](int64_t ended) mutable {
    if (ended == shown) return;
    shown = ended;
    const auto total = static_cast<int64_t>(requests);
    fmt::print(stderr, "\r[{:=<{}}{: <{}}] {}/{} requests", "", 40 * ended / total, "",
               40 - 40 * ended / total, ended, total);
    std::fflush(stderr);
  };
}

std::string serve_clock_text(const ServeOptions& options) {
  if (options.clock == "wall") return "steps measured";
  return fmt::format("steps of {:g} ms and {:g} ms a token", options.step_ms, options.token_ms);
}

int run_serve(const ServeOptions& options, const Outcome& outcome) {
  const ReplayOptions replaying = replay_options(options);
  const golden::ModelConfig config = model_config(options.model);
  std::vector<std::string> inputs = model_inputs(options.model);
  if (options.trace != "-") inputs.push_back(options.trace);
  check_report_targets(options.report, inputs);
  const Trace trace =
      read_trace(options.trace, time_unit_seconds(options.time_unit), options.requests);
  std::unique_ptr<golden::WeightSource> weights;
  if (options.model.checkpoint.empty()) {
    weights = std::make_unique<golden::SyntheticWeights>(config, options.model.seed);
  } else {
    weights = std::make_unique<golden::CheckpointWeights>(options.model.checkpoint, config);
  }
  const ServedModels models =
      step_models(options.backend, options.precision, config, *weights, replaying.blocks);
  ServingRun run;
  run.command_line = outcome.command_line;
  run.trace_path = options.trace;
  run.read_as = fmt::format("{}, {} requests", trace.read_as, trace.rows.size());
  run.model =
      fmt::format("method {} on {}: {} requests at once, of at most {} positions", config.method,
                  options.backend, options.model.batch, options.model.positions);
  run.clock = serve_clock_text(options);
  const StopOnSignals signals;
  const ReplayProgress bar = progress_bar(trace.rows.size(), options.report.quiet);
  run.replay = replay(trace, models, replaying, bar);

  const ReportOptions& report = options.report;
  if (bar) fmt::print(stderr, "\r\x1b[K");
  if (!report.quiet) fmt::print("{}", serving_text(run, outcome.colour));
  if (!report.html_path.empty()) verify::write_report(serving_html(run), report.html_path);
  if (!report.json_path.empty()) verify::write_report(serving_json(run), report.json_path);
  if (!report.junit_path.empty()) {
    verify::RunReport junit;
    junit.title = "serve-sim: " + verify::status_name(serving_status(run.replay));
    junit.command_line = outcome.command_line;
    junit.checks = run.replay.checks;
    verify::write_report(verify::junit_text(junit), report.junit_path);
  }
  const int stopped = run.replay.stopped_by;
  return stopped != 0 ? 128 + stopped : serving_exit_code(run.replay);
}

void add_serving_options(CLI::App& command, ServeOptions& options) {
  command
      .add_option("--backend", options.backend,
                  "reference[:left] (double precision; shorter rows of a step filled up on the "
                  "right or left), simt (the kernels on the host), or cuda")
      ->capture_default_str();
  command.add_option("--precision", options.precision,
                     "of simt and cuda: fp64 (simt), fp32 (default), tf32, bf16, fp16");
  command
      .add_option("--max-wait-ms", options.max_wait_ms,
                  "the oldest request waits no longer for others before a batch starts")
      ->capture_default_str();
  command
      .add_option("--prefill-chunk", options.prefill_chunk,
                  "tokens of a prompt read in a step; 0: all of them")
      ->capture_default_str();
  command.add_option("--cache-blocks", options.cache_blocks,
                     "blocks of cache memory that requests share, each as many as it needs; "
                     "default: every one as many as the longest needs");
  command.add_option("--block-size", options.block_size, "positions of a block")
      ->capture_default_str();
  command
      .add_option("--share-prefix", options.share_prefix,
                  "a beginning of so many tokens, or more, that another request has in its cache "
                  "is taken from there; 0: every prompt is read")
      ->capture_default_str();
  command
      .add_option("--overtaking", options.overtaking,
                  "later requests that may start before one that does not fit")
      ->capture_default_str();
  command
      .add_option("--max-queue", options.max_queue,
                  "requests that may wait, more are rejected; 0: any number")
      ->capture_default_str();
}

void add_trace_options(CLI::App& command, ServeOptions& options) {
  command
      .add_option("--trace", options.trace,
                  "requests to replay: JSONL; CSV with TIMESTAMP, ContextTokens, GeneratedTokens "
                  "and the like; JSON of requests or of conversations; - for standard input")
      ->required();
  command.add_option("--requests", options.requests, "the first so many of the trace");
  command
      .add_option("--shrink", options.shrink, "lengths of the trace are divided by it, rounded up")
      ->capture_default_str();
  command.add_option("--rate", options.rate,
                     "requests a second, drawn (Poisson), in place of the trace's arrivals");
  command.add_option("--speed", options.speed, "arrivals come so many times faster")
      ->capture_default_str()
      ->excludes("--rate");
  command.add_option("--time-unit", options.time_unit,
                     "of arrivals that are plain numbers: s, ms, us or ns; default s, and ms of "
                     "Mooncake's traces");
  command
      .add_option("--clock", options.clock,
                  "simulated: a step takes --step-ms and --token-ms for each of its tokens; "
                  "wall: what it takes here")
      ->capture_default_str();
  command.add_option("--step-ms", options.step_ms, "of a simulated step")->capture_default_str();
  command.add_option("--token-ms", options.token_ms, "of each token in it")->capture_default_str();
  command.add_option("--check", options.check,
                     "run so many requests, or all, alone too: the same tokens and logits, bit for "
                     "bit");
}

}  // namespace

void add_serve_sim(CLI::App& app, Outcome& outcome) {
  CLI::App* command =
      app.add_subcommand("serve-sim", "replay a trace of requests with dynamic batching");
  auto options = std::make_shared<ServeOptions>();
  options->model.batch = 8;
  add_model_options(*command, options->model);
  command->remove_option(command->get_option("--tokens-format"));
  command->remove_option(command->get_option("--tokens"));
  command->get_option("--batch")->description("requests that run at once");
  command->get_option("--seq")->description("positions of a request, prompt and new tokens");
  command->get_option("--seed")->description(
      "seed of weights, and of prompts and arrivals that "
      "the trace does not have");
  add_weights_option(*command, options->model);
  add_trace_options(*command, *options);
  add_serving_options(*command, *options);
  add_report_options(*command, options->report);
  command->footer(
      "exit codes: 0 every request ended as asked or was rejected for what is wrong with it;\n"
      "1 a check failed; 3 nothing was served, or a request failed; 2 bad usage or input;\n"
      "77 no device. docs/serving.md");
  command->callback([options, &outcome] { outcome.exit_code = run_serve(*options, outcome); });
}

}  // namespace assay::cli
