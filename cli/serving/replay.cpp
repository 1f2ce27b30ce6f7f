#include "cli/serving/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <unordered_map>

#include "cli/process/stop.h"
#include "cli/serving/alone_check.h"
#include "golden/contract/error.h"
#include "golden/contract/random.h"
#include "verify/systems/serving_audit.h"

namespace assay::cli {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

std::vector<int32_t> drawn_tokens(uint64_t seed, std::size_t index, int64_t count, int64_t vocab) {
  std::vector<uint32_t> words(static_cast<std::size_t>(count));
  golden::random_words(seed, golden::stream_id(fmt::format("prompt {}", index)), 0, words);
  std::vector<int32_t> tokens;
  tokens.reserve(words.size());
  for (const uint32_t word : words) {
    tokens.push_back(static_cast<int32_t>(word % static_cast<uint64_t>(vocab)));
  }
  return tokens;
}

// (0, 1]
std::vector<double> drawn_uniforms(uint64_t seed, const char* stream, std::size_t count) {
  std::vector<uint32_t> words(count);
  golden::random_words(seed, golden::stream_id(stream), 0, words);
  std::vector<double> values;
  for (const uint32_t word : words) values.push_back((static_cast<double>(word) + 1) / 0x1p32);
  return values;
}

// Hears the server and passes on.
class Recorder : public serving::Listener {
 public:
  Recorder(Replay& into, verify::ServingAudit& audit, AloneCheck& alone)
      : out_(into), audit_(audit), alone_(alone) {}

  std::unordered_map<std::string, std::size_t> places;  // of accepted requests
  std::set<std::size_t> checked;
  std::size_t submitting = 0;
  std::optional<double> far_token;  // of the one that is being submitted
  int64_t ended_count = 0, most_positions = 0, vocab_size = 0;

  void accepted(const serving::Request& request, double) override {
    places[request.id] = submitting;
    audit_.accepted(request.id);
  }
  void rejected(const serving::Request& request, const std::string& why) override {
    ServedRequest& served = out_.requests[submitting];
    served.rejected = why;
    if (served.prompt_tokens > static_cast<int64_t>(request.tokens.size())) {  // not all were drawn
      served.rejected = fmt::format(
          "request {}: expected at most {} positions, got {} of the prompt and {} new",
          golden::printable(served.id), most_positions, served.prompt_tokens, served.new_tokens);
    }
    if (far_token) {
      served.rejected = fmt::format("request {}: tokens: expected 0 .. {}, got {:.0f}",
                                    golden::printable(served.id), vocab_size - 1, *far_token);
    }
    audit_.rejected(request.id);
    ++ended_count;
  }
  void started(const serving::Request& request, int64_t, double) override {
    audit_.started(request.id);
    if (checked.contains(places.at(request.id))) alone_.started(request);
  }
  void token(const serving::Token& token) override {
    ServedRequest& served = out_.requests[places.at(token.id)];
    served.token_times_s.push_back(token.time_s);
    audit_.token(token.id, token.index, served.new_tokens);
    alone_.token(token);
  }
  void stepped(const serving::StepReport& step) override {
    out_.steps.push_back({step.time_s, step.batch, step.waiting});
  }
  void ended(const serving::Outcome& outcome) override {
    out_.requests[places.at(outcome.id)].outcome = outcome;
    audit_.ended(outcome.id);
    alone_.ended(outcome.id);
    ++ended_count;
  }

 private:
  Replay& out_;
  verify::ServingAudit& audit_;
  AloneCheck& alone_;
};

// Nobody runs any more.
verify::Check returned_blocks(const serving::BlockCounts& counts) {
  verify::Check check;
  check.name = "serving: blocks";
  check.status = verify::Status::pass;
  check.summary = fmt::format(
      "all {} blocks that were held at once are free again; {} shared, {} "
      "copied when written to",
      counts.most_used, counts.shared, counts.copied);
  if (counts.used == 0 && counts.promised == 0) return check;
  check.status = verify::Status::fail;
  check.summary = fmt::format("{} blocks are held and {} promised when nobody runs any more",
                              counts.used, counts.promised);
  return check;
}

// What happens when, by the trace.
struct Plan {
  std::vector<double> arrival_s;                        // by request
  std::vector<std::size_t> order;                       // of arrivals
  std::vector<std::pair<double, std::size_t>> cancels;  // in order
};

Plan plan_of(const Trace& trace, const ReplayOptions& options) {
  Plan plan;
  const std::size_t count = trace.rows.size();
  plan.order.resize(count);
  std::iota(plan.order.begin(), plan.order.end(), std::size_t{0});
  if (options.rate) {
    double time_s = 0;
    for (const double u : drawn_uniforms(options.seed, "arrivals", count)) {
      plan.arrival_s.push_back(time_s);
      time_s -= std::log(u) / *options.rate;
    }
  } else {
    for (const TraceRow& row : trace.rows) {
      plan.arrival_s.push_back(row.arrival_s.value_or(0) / options.speed);
    }
    std::stable_sort(plan.order.begin(), plan.order.end(), [&](std::size_t a, std::size_t b) {
      return plan.arrival_s[a] < plan.arrival_s[b];
    });
  }
  for (std::size_t i = 0; i < count; ++i) {
    const TraceRow& row = trace.rows[i];
    if (!(plan.arrival_s[i] <= kTraceSeconds)) {
      throw InputError(fmt::format(
          "{}: would arrive {:g} s behind the first: expected within {:g} s; give a larger {}",
          row.where, plan.arrival_s[i], kTraceSeconds, options.rate ? "--rate" : "--speed"));
    }
    if (!row.cancel_s) continue;
    // Who is cancelled before it comes is cancelled as it comes.
    const double after_s = std::max(0.0, *row.cancel_s - row.arrival_s.value_or(0));
    plan.cancels.emplace_back(plan.arrival_s[i] + after_s / options.speed, i);
  }
  std::stable_sort(plan.cancels.begin(), plan.cancels.end());
  return plan;
}

class Replaying {
 public:
  Replaying(const Trace& trace, const ServedModels& models, const ReplayOptions& options)
      : trace_(trace),
        options_(options),
        plan_(plan_of(trace, options)),
        model_(models.make(options.server.max_batch, options.capacity)),
        timed_(*model_, clock_, options.cost, options.wall),
        audit_(options.server.overtaking),
        alone_(models, options.capacity),
        recorder_(out_, audit_, alone_) {
    if (options.blocks.blocks > 0 && !timed_.block_counts()) {
      budget_.emplace(timed_, options.blocks);
    }
    serving::StepModel& served = budget_ ? static_cast<serving::StepModel&>(*budget_) : timed_;
    recorder_.most_positions = served.capacity();
    recorder_.vocab_size = served.vocab_size();
    server_.emplace(
        served, options.server, [this] { return clock_.now_s; }, &recorder_);
    for (const TraceRow& row : trace.rows) given_ids_.insert(row.id);
    for (std::size_t i = 0; i < trace.rows.size(); ++i) describe(i);
    choose_checked();
  }

  Replay run(const ReplayProgress& progress) {
    for (;;) {
      if (stop_signal() != 0 && out_.stopped_by == 0) stop();
      submit_due();
      if (server_->step()) {
        if (progress) progress(recorder_.ended_count);
        continue;
      }
      const double next_s = next_event_s();
      if (next_s == kNever) break;
      clock_.now_s = std::max(clock_.now_s, next_s);
    }
    return finished();
  }

 private:
  int64_t shrunk(int64_t length) const {
    return length / options_.shrink + (length % options_.shrink != 0);
  }

  // For a request that the trace names not, none that it names another by.
  std::string free_id(std::size_t i) const {
    std::string id = fmt::format("#{}", i);
    while (given_ids_.contains(id)) id.insert(0, "#");
    return id;
  }

  void describe(std::size_t i) {
    const TraceRow& row = trace_.rows[i];
    ServedRequest served;
    served.id = row.id.empty() ? free_id(i) : row.id;
    served.where = row.where;
    served.prompt_tokens = row.tokens.empty() ? shrunk(row.prompt_tokens) : row.prompt_tokens;
    served.new_tokens = shrunk(row.new_tokens);
    out_.requests.push_back(std::move(served));
  }

  // So many, evenly over the trace.
  void choose_checked() {
    const auto count = static_cast<int64_t>(trace_.rows.size());
    const int64_t wanted = options_.checked < 0 ? count : std::min(options_.checked, count);
    for (int64_t k = 0; k < wanted; ++k) {
      recorder_.checked.insert(static_cast<std::size_t>(k * count / wanted));
    }
  }

  std::vector<int32_t> prompt_of(std::size_t i) const {
    const TraceRow& row = trace_.rows[i];
    const int64_t vocab = timed_.vocab_size(), count = out_.requests[i].prompt_tokens;
    if (!row.tokens.empty()) return row.tokens;
    if (row.text && vocab >= 256) {
      std::vector<int32_t> bytes;
      for (const char c : row.text->substr(0, static_cast<std::size_t>(count))) {
        bytes.push_back(static_cast<unsigned char>(c));
      }
      return bytes;
    }
    // One more than fits is refused as well as all of them.
    return drawn_tokens(options_.seed, i, std::min(count, recorder_.most_positions + 1), vocab);
  }

  void submit(std::size_t i) {
    const ServedRequest& served = out_.requests[i];
    recorder_.submitting = i;
    recorder_.far_token = trace_.rows[i].far_token;
    serving::Request request{served.id, prompt_of(i), served.new_tokens, {}};
    if (trace_.rows[i].far_token) request.tokens.front() = -1;  // one that the server rejects
    if (const std::optional<int64_t> stop = trace_.rows[i].stop_token) {
      request.stop_token = static_cast<int32_t>(std::clamp<int64_t>(*stop, INT32_MIN, INT32_MAX));
    }
    server_->submit(std::move(request), plan_.arrival_s[i]);
  }

  void submit_due() {
    while (arrived_ < plan_.order.size() &&
           plan_.arrival_s[plan_.order[arrived_]] <= clock_.now_s) {
      submit(plan_.order[arrived_++]);
    }
    while (cancelled_ < plan_.cancels.size() && plan_.cancels[cancelled_].first <= clock_.now_s) {
      const std::size_t i = plan_.cancels[cancelled_++].second;
      const auto place = recorder_.places.find(out_.requests[i].id);
      if (place != recorder_.places.end() && place->second == i) {
        server_->cancel(out_.requests[i].id);
      }
    }
  }

  // Who waits or runs is cancelled, and nobody else comes.
  void stop() {
    out_.stopped_by = stop_signal();
    for (std::size_t at = 0; at < arrived_; ++at) {
      server_->cancel(out_.requests[plan_.order[at]].id);
    }
    for (; arrived_ < plan_.order.size(); ++arrived_, ++not_sent_) {
      out_.requests[plan_.order[arrived_]].rejected =
          fmt::format("not sent: stopped by signal {}", out_.stopped_by);
    }
  }

  double next_event_s() const {
    double next_s = server_->next_start_s().value_or(kNever);
    if (arrived_ < plan_.order.size()) {
      next_s = std::min(next_s, plan_.arrival_s[plan_.order[arrived_]]);
    }
    const bool over = arrived_ == plan_.order.size() && server_->idle();
    if (cancelled_ < plan_.cancels.size() && !over) {
      next_s = std::min(next_s, plan_.cancels[cancelled_].first);
    }
    return next_s;
  }

  Replay finished() {
    out_.statistics = server_->statistics();
    out_.elapsed_s = clock_.now_s;
    if (budget_) {
      out_.blocks = {.most_used = budget_->most_used(), .refusals = budget_->refusals()};
    }
    out_.checks.push_back(audit_.check(static_cast<int64_t>(trace_.rows.size()) - not_sent_));
    if (const auto counts = timed_.block_counts()) {
      out_.blocks = *counts;
      out_.checks.push_back(returned_blocks(*counts));
    }
    if (options_.checked != 0) {
      out_.checks.push_back(alone_.alone());
      out_.checks.push_back(alone_.whole());
    }
    return std::move(out_);
  }

  const Trace& trace_;
  const ReplayOptions& options_;
  Plan plan_;
  Replay out_;
  StepClock clock_;
  StepModelPointer model_;
  TimedModel timed_;
  std::optional<serving::BlockBudget> budget_;
  verify::ServingAudit audit_;
  AloneCheck alone_;
  Recorder recorder_;
  std::optional<serving::Server> server_;
  std::set<std::string> given_ids_;
  int64_t not_sent_ = 0;
  std::size_t arrived_ = 0, cancelled_ = 0;
};

}  // namespace

int64_t Replay::count(serving::End end) const {
  return std::count_if(requests.begin(), requests.end(), [end](const ServedRequest& served) {
    return served.rejected.empty() && served.outcome.end == end;
  });
}

int64_t Replay::rejected() const {
  return std::count_if(requests.begin(), requests.end(),
                       [](const ServedRequest& served) { return !served.rejected.empty(); });
}

Replay replay(const Trace& trace, const ServedModels& models, const ReplayOptions& options,
              const ReplayProgress& progress) {
  return Replaying(trace, models, options).run(progress);
}

}  // namespace assay::cli
