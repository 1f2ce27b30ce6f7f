#include "cli/serving/serving_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "golden/contract/error.h"
#include "verify/report/report.h"

namespace assay::cli {
namespace {

using ServingJson = nlohmann::ordered_json;
using serving::End;

constexpr std::size_t kMostNamed = 10;

std::string milliseconds(double seconds) { return fmt::format("{:.3f} ms", 1e3 * seconds); }

// Requests that were not served, and why.
std::vector<std::string> unserved_of(const Replay& replay) {
  std::vector<std::string> lines;
  std::size_t more = 0;
  for (const ServedRequest& served : replay.requests) {
    const bool failed = served.rejected.empty() && served.outcome.end == End::failed;
    if (served.rejected.empty() && !failed) continue;
    if (lines.size() == kMostNamed) {
      ++more;
      continue;
    }
    lines.push_back(fmt::format("{}: {}: {}", served.where, failed ? "failed" : "rejected",
                                failed ? served.outcome.why : served.rejected));
  }
  if (more > 0) lines.push_back(fmt::format("and {} more", more));
  return lines;
}

ServingJson mean_json(const serving::RunningMean& mean) {
  return {{"mean", mean.mean()},
          {"smallest", mean.smallest()},
          {"largest", mean.largest()},
          {"count", mean.count()}};
}

ServingJson request_json(const ServedRequest& served) {
  ServingJson json{{"id", served.id},
                   {"where", served.where},
                   {"prompt_tokens", served.prompt_tokens},
                   {"max_new_tokens", served.new_tokens}};
  if (!served.rejected.empty()) {
    json["end"] = "rejected";
    json["why"] = served.rejected;
    return json;
  }
  const serving::Outcome& outcome = served.outcome;
  const auto since = [&](const std::optional<double>& time_s) {
    return time_s ? ServingJson(*time_s - outcome.arrived_s) : ServingJson(nullptr);
  };
  json["end"] = serving::end_name(outcome.end);
  if (!outcome.why.empty()) json["why"] = outcome.why;
  json["arrived_s"] = outcome.arrived_s;
  json["wait_s"] = since(outcome.started_s);
  json["first_token_s"] = since(outcome.first_token_s);
  json["total_s"] = outcome.ended_s - outcome.arrived_s;
  json["overtaken"] = outcome.overtaken;
  json["tokens"] = outcome.tokens;
  return json;
}

ServingJson totals_json(const Replay& replay) {
  const serving::Statistics& s = replay.statistics;
  const serving::BlockCounts& b = replay.blocks;
  return {{"requests", replay.requests.size()},
          {"finished", s.finished},
          {"rejected", replay.rejected()},
          {"cancelled", s.cancelled},
          {"failed", s.failed},
          {"prompt_tokens", s.prompt_tokens},
          {"new_tokens", s.new_tokens},
          {"shared_tokens", s.shared_tokens},
          {"steps", s.steps},
          {"retried_steps", s.retried_steps},
          {"overtaken_most", s.overtaken_most},
          {"elapsed_s", replay.elapsed_s},
          {"busy_s", s.busy_s},
          {"new_tokens_per_second", s.new_tokens_per_second()},
          {"batch_size", mean_json(s.batch_size)},
          {"step_tokens", mean_json(s.step_tokens)},
          {"step_rate", mean_json(s.step_rate)},
          {"wait_s", mean_json(s.wait_s)},
          {"queue_length", mean_json(s.queue_length)},
          {"blocks",
           {{"most_used", b.most_used},
            {"refusals", b.refusals},
            {"shared", b.shared},
            {"copied", b.copied},
            {"bytes", b.bytes}}}};
}

}  // namespace

double percentile(const std::vector<double>& sorted, double share) {
  ASSAY_CHECK(!sorted.empty(), "percentile of nothing");
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  const auto place = static_cast<std::size_t>(std::max(1.0, rank)) - 1;
  return sorted[std::min(place, sorted.size() - 1)];
}

std::vector<Latencies> latencies_of(const Replay& replay) {
  Latencies first{"time to first token", {}}, token{"per token", {}}, total{"whole request", {}};
  for (const ServedRequest& served : replay.requests) {
    const std::vector<double>& times = served.token_times_s;
    if (times.empty()) continue;
    first.seconds.push_back(times.front() - served.outcome.arrived_s);
    for (std::size_t i = 1; i < times.size(); ++i) {
      token.seconds.push_back(times[i] - times[i - 1]);
    }
    const End end = served.outcome.end;
    if (end != End::length && end != End::stop) continue;
    total.seconds.push_back(served.outcome.ended_s - served.outcome.arrived_s);
  }
  std::vector<Latencies> all{std::move(first), std::move(token), std::move(total)};
  for (Latencies& latencies : all) std::sort(latencies.seconds.begin(), latencies.seconds.end());
  return all;
}

verify::Status serving_status(const Replay& replay) {
  const verify::Status checks = verify::overall(replay.checks);
  const bool served = replay.statistics.finished > 0 && replay.statistics.failed == 0;
  return checks == verify::Status::pass && !served ? verify::Status::inconclusive : checks;
}

int serving_exit_code(const Replay& replay) {
  const verify::Status status = serving_status(replay);
  return status == verify::Status::pass ? 0 : status == verify::Status::fail ? 1 : 3;
}

std::string serving_text(const ServingRun& run, bool colour) {
  const Replay& replay = run.replay;
  const serving::Statistics& s = replay.statistics;
  std::string text =
      fmt::format("{}: {}\n{}\n", golden::printable(run.trace_path), run.read_as, run.model);
  text += fmt::format(
      "  requests     {}: {} finished, {} rejected, {} cancelled, {} failed\n"
      "  tokens       {} of prompts read, {} shared, {} new\n"
      "  steps        {}, {:.2f} requests each on average, {} at most\n"
      "  waiting      {} on average, {} at most; overtaken {} times at most\n"
      "  throughput   {:.1f} new tokens/s in {:.3f} s of steps; {:.3f} s in all ({})\n",
      replay.requests.size(), s.finished, replay.rejected(), s.cancelled, s.failed, s.prompt_tokens,
      s.shared_tokens, s.new_tokens, s.steps, s.batch_size.mean(), s.batch_size.largest(),
      milliseconds(s.wait_s.mean()), milliseconds(s.wait_s.largest()), s.overtaken_most,
      s.new_tokens_per_second(), s.busy_s, replay.elapsed_s, run.clock);
  if (const serving::BlockCounts& blocks = replay.blocks; blocks.most_used > 0) {
    text += fmt::format("  cache        {} blocks at once at most; {} times there were too few\n",
                        blocks.most_used, blocks.refusals);
    if (blocks.bytes > 0) {
      text += fmt::format("  blocks       {} shared, {} copied when written to; {} bytes\n",
                          blocks.shared, blocks.copied, blocks.bytes);
    }
  }
  text += fmt::format("  {:<20}{:>14}{:>14}{:>14}\n", "latency", "p50", "p90", "p99");
  for (const Latencies& latencies : latencies_of(replay)) {
    if (latencies.seconds.empty()) continue;
    text += fmt::format("  {:<20}{:>14}{:>14}{:>14}\n", latencies.name,
                        milliseconds(percentile(latencies.seconds, 0.5)),
                        milliseconds(percentile(latencies.seconds, 0.9)),
                        milliseconds(percentile(latencies.seconds, 0.99)));
  }
  for (const std::string& line : unserved_of(replay)) text += line + "\n";
  for (const verify::Check& check : replay.checks) text += verify::check_text(check, colour);
  return text;
}

std::string serving_json(const ServingRun& run) {
  ServingJson latencies = ServingJson::object();
  for (const Latencies& of : latencies_of(run.replay)) {
    if (of.seconds.empty()) continue;
    latencies[of.name] = {{"p50_s", percentile(of.seconds, 0.5)},
                          {"p90_s", percentile(of.seconds, 0.9)},
                          {"p99_s", percentile(of.seconds, 0.99)},
                          {"count", of.seconds.size()}};
  }
  ServingJson requests = ServingJson::array(), checks = ServingJson::array();
  for (const ServedRequest& served : run.replay.requests) requests.push_back(request_json(served));
  for (const verify::Check& check : run.replay.checks) {
    checks.push_back({{"name", check.name},
                      {"status", verify::status_name(check.status)},
                      {"summary", check.summary},
                      {"details", check.details}});
  }
  const ServingJson json{{"assay_serving_report", 1},
                         {"command", run.command_line},
                         {"trace", run.trace_path},
                         {"read_as", run.read_as},
                         {"model", run.model},
                         {"clock", run.clock},
                         {"verdict", verify::status_name(serving_status(run.replay))},
                         {"exit_code", serving_exit_code(run.replay)},
                         {"totals", totals_json(run.replay)},
                         {"latency", latencies},
                         {"checks", checks},
                         {"requests", requests}};
  return json.dump(1, ' ', false, ServingJson::error_handler_t::replace) + "\n";
}

}  // namespace assay::cli
