#include "cuda_impl/serving/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "cuda_impl/serving/server_job.h"
#include "golden/contract/error.h"

namespace assay::serving {
namespace {

void require_at_least(const char* name, int64_t value, int64_t least) {
  if (value >= least) return;
  throw InputError(fmt::format("server: {}: expected at least {}, got {}", name, least, value));
}

// The place of the largest, of equal ones the first; -1 where one is not a number.
int64_t place_of_largest(std::span<const double> values) {
  int64_t best = 0;
  for (std::size_t v = 0; v < values.size(); ++v) {
    if (std::isnan(values[v])) return -1;
    if (values[v] > values[static_cast<std::size_t>(best)]) best = static_cast<int64_t>(v);
  }
  return best;
}

}  // namespace

const char* end_name(End end) {
  switch (end) {
    case End::length:
      return "length";
    case End::stop:
      return "stop";
    case End::cancelled:
      return "cancelled";
    case End::failed:
      return "failed";
  }
  return "";
}

Server::Server(StepModel& model, const ServerOptions& options, Clock clock, Listener* listener)
    : model_(model),
      options_(options),
      clock_(std::move(clock)),
      listener_(listener == nullptr ? &silent_ : listener) {
  require_at_least("max_batch", options.max_batch, 1);
  require_at_least("prefill_chunk", options.prefill_chunk, 0);
  require_at_least("overtaking", options.overtaking, 0);
  require_at_least("max_queue", options.max_queue, 0);
  require_at_least("shared_prefix", options.shared_prefix, 0);
  if (options.max_batch > model.slots()) {
    throw InputError(fmt::format("server: max_batch: expected at most the model's {} slots, got {}",
                                 model.slots(), options.max_batch));
  }
  if (!(options.max_wait_s >= 0)) {
    throw InputError(fmt::format("server: max_wait_s: expected a number of at least 0, got {}",
                                 options.max_wait_s));
  }
  for (int64_t slot = options.max_batch - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  const double first = clock_();
  clock_s_ = now_s_ = last_arrival_s_ = std::isfinite(first) ? first : 0;
}

Server::~Server() {
  for (const auto& job : running_) model_.release(job->slot);
}

double Server::now() {
  const double read_s = clock_();
  if (!std::isfinite(read_s)) {
    ++statistics_.clock_jumps;
    return now_s_;
  }
  if (read_s < clock_s_) {
    ++statistics_.clock_jumps;
    clock_offset_s_ += clock_s_ - read_s;
  }
  clock_s_ = read_s;
  return now_s_ = std::max(now_s_, read_s + clock_offset_s_);
}

// ------------------------------------------------------------------------------------------------
// a step

bool Server::is_due() const {
  if (!running_.empty()) return true;
  const std::optional<double> start = next_start_s();
  return start && now_s_ >= *start;
}

std::optional<double> Server::next_start_s() const {
  if (queue_.empty() || !running_.empty()) return std::nullopt;
  if (waiting() >= options_.max_batch) return now_s_;
  return queue_.front()->arrived_s + options_.max_wait_s;
}

bool Server::step() {
  ASSAY_CHECK(!in_step_, "a listener called step()");
  now();
  if (!is_due()) return false;
  in_step_ = true;
  try {
    start_waiting();
    remove_finished();
    if (!running_.empty()) run_step();
  } catch (...) {
    in_step_ = false;
    throw;
  }
  in_step_ = false;
  remove_finished();
  return true;
}

void Server::run_step() {
  const auto V = static_cast<std::size_t>(model_.vocab_size());
  std::vector<double> logits(running_.size() * V);  // [batch,V]
  std::vector<std::string> ids;
  for (const auto& job : running_) ids.push_back(job->request.id);
  statistics_.queue_length.add(static_cast<double>(queue_.size()));
  statistics_.batch_size.add(static_cast<double>(running_.size()));
  const double began_s = now_s_;
  const int64_t tokens_before = statistics_.new_tokens;
  compute(logits);
  const double seconds = now() - began_s;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    choose(*running_[i], std::span(logits).subspan(i * V, V), ids);
  }
  listener_->stepped({.step = statistics_.steps,
                      .batch = static_cast<int64_t>(ids.size()),
                      .waiting = waiting(),
                      .seconds = seconds,
                      .time_s = now_s_});
  ++statistics_.steps;
  statistics_.busy_s += seconds;
  if (seconds > 0) {
    const auto chosen = static_cast<double>(statistics_.new_tokens - tokens_before);
    statistics_.step_rate.add(chosen / seconds);
  }
}

// Fills the logits of every running request that did not fail.
void Server::compute(std::span<double> logits) {
  std::vector<SlotTokens> batch;
  for (const auto& job : running_) batch.push_back({job->slot, job->next(options_.prefill_chunk)});
  const std::string why = failure_of([&] { model_.step(batch, logits); });
  const std::size_t V = logits.size() / batch.size();
  if (!why.empty() && batch.size() == 1) finish(*running_.front(), End::failed, why);
  if (!why.empty() && batch.size() > 1) {
    ++statistics_.retried_steps;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const std::string own = failure_of(
          [&] { model_.step(std::span(batch).subspan(i, 1), logits.subspan(i * V, V)); });
      if (!own.empty()) finish(*running_[i], End::failed, own);
    }
  }
  int64_t tokens = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    Job& job = *running_[i];
    if (job.end == End::failed) continue;
    const auto count = static_cast<int64_t>(batch[i].tokens.size());
    tokens += count;
    if (job.prompt_is_read()) continue;
    job.read += count;
    statistics_.prompt_tokens += count;
  }
  statistics_.step_tokens.add(static_cast<double>(tokens));
}

void Server::choose(Job& job, std::span<const double> logits, std::span<const std::string> ids) {
  if (job.end || !job.prompt_is_read()) return;
  const int64_t token = place_of_largest(logits);
  if (token < 0) {
    finish(job, End::failed,
           fmt::format("request {}: logits behind position {}: expected numbers, got NaN",
                       golden::printable(job.request.id),
                       job.request.tokens.size() + job.tokens.size() - 1));
    return;
  }
  if (!job.first_token_s) job.first_token_s = now_s_;
  job.tokens.push_back(static_cast<int32_t>(token));
  ++statistics_.new_tokens;
  const auto count = static_cast<int64_t>(job.tokens.size());
  listener_->token({.id = job.request.id,
                    .index = count - 1,
                    .token = job.tokens.back(),
                    .logits = logits,
                    .step = statistics_.steps,
                    .batch = ids,
                    .time_s = now_s_});
  if (job.end) return;  // cancelled by the listener
  if (job.request.stop_token == job.tokens.back()) {
    finish(job, End::stop);
  } else if (count == job.request.max_new_tokens) {
    finish(job, End::length);
  }
}

// ------------------------------------------------------------------------------------------------
// ends

void Server::finish(Job& job, End how, const std::string& why) {
  ASSAY_CHECK(!job.end, job.request.id);
  job.end = how;
  job.why = why;
  ended_waiting_ = ended_waiting_ || job.slot < 0;
}

// Takes what has ended out of queue and slots before anybody hears of it: a listener may submit.
void Server::remove_finished() {
  std::vector<std::unique_ptr<Job>> gone;
  const auto take_from = [&](auto& jobs) {
    const auto first =
        std::stable_partition(jobs.begin(), jobs.end(), [](const auto& job) { return !job->end; });
    std::move(first, jobs.end(), std::back_inserter(gone));
    jobs.erase(first, jobs.end());
  };
  if (std::exchange(ended_waiting_, false)) take_from(queue_);
  take_from(running_);
  for (const auto& job : gone) {
    if (job->slot < 0) continue;
    model_.release(job->slot);
    free_slots_.push_back(job->slot);
  }
  for (const auto& job : gone) close(*job);
}

void Server::close(Job& job) {
  ++(*job.end == End::cancelled ? statistics_.cancelled
     : *job.end == End::failed  ? statistics_.failed
                                : statistics_.finished);
  listener_->ended({.id = job.request.id,
                    .end = *job.end,
                    .why = job.why,
                    .tokens = std::move(job.tokens),
                    .prompt_tokens = static_cast<int64_t>(job.request.tokens.size()),
                    .overtaken = job.overtaken,
                    .arrived_s = job.arrived_s,
                    .started_s = job.started_s,
                    .first_token_s = job.first_token_s,
                    .ended_s = now_s_});
}

}  // namespace assay::serving
