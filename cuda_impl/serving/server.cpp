#include "cuda_impl/serving/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <stdexcept>

#include "golden/contract/error.h"

namespace assay::serving {

struct Server::Job {
  Request request;
  double arrived_s = 0;
  int64_t slot = -1;  // -1 while it waits
  int64_t read = 0;   // tokens of the prompt
  int64_t overtaken = 0;
  std::vector<int32_t> tokens;  // new ones
  std::optional<double> started_s, first_token_s;
  std::optional<End> end;
  std::string why;

  // What a step reads of it.
  std::span<const int32_t> next(int64_t prefill_chunk) const {
    const std::span<const int32_t> prompt(request.tokens);
    if (read == static_cast<int64_t>(prompt.size())) return std::span(tokens).last(1);
    const int64_t left = static_cast<int64_t>(prompt.size()) - read;
    const int64_t count = prefill_chunk > 0 ? std::min(prefill_chunk, left) : left;
    return prompt.subspan(static_cast<std::size_t>(read), static_cast<std::size_t>(count));
  }
  bool prompt_is_read() const { return read == static_cast<int64_t>(request.tokens.size()); }
};

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

// Runs `work`; why it failed, "" if it did not. Broken invariants are not caught.
template <class Work>
std::string failure_of(const Work& work) {
  try {
    work();
  } catch (const std::bad_alloc&) {
    return "not enough memory for one more block of its cache or its step";
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
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
// requests come and go

std::string Server::refusal(const Request& request) const {
  const std::string id = golden::printable(request.id);
  if (request.id.empty()) return "id: expected a name, got \"\"";
  if (known_.contains(request.id)) {
    return fmt::format("request {}: id: there is one of that id already; choose another", id);
  }
  if (request.tokens.empty()) {
    return fmt::format("request {}: tokens: expected at least 1, got none", id);
  }
  if (request.max_new_tokens < 1) {
    return fmt::format("request {}: max_new_tokens: expected at least 1, got {}", id,
                       request.max_new_tokens);
  }
  const auto prompt = static_cast<int64_t>(request.tokens.size());
  if (request.max_new_tokens > model_.capacity() || prompt > model_.capacity() ||
      prompt + request.max_new_tokens > model_.capacity()) {
    return fmt::format("request {}: expected at most {} positions, got {} of the prompt and {} new",
                       id, model_.capacity(), prompt, request.max_new_tokens);
  }
  const int64_t V = model_.vocab_size();
  for (std::size_t t = 0; t < request.tokens.size(); ++t) {
    if (request.tokens[t] >= 0 && request.tokens[t] < V) continue;
    return fmt::format("request {}: tokens at {}: expected 0 .. {}, got {}", id, t, V - 1,
                       request.tokens[t]);
  }
  if (request.stop_token && (*request.stop_token < 0 || *request.stop_token >= V)) {
    return fmt::format("request {}: stop_token: expected 0 .. {}, got {}", id, V - 1,
                       *request.stop_token);
  }
  if (options_.max_queue > 0 && waiting() >= options_.max_queue) {
    return fmt::format("request {}: the queue is full: {} wait already; try again later", id,
                       waiting());
  }
  return "";
}

std::string Server::submit(Request request) { return submit(std::move(request), now()); }

std::string Server::submit(Request request, double arrived_s) {
  const std::string why = refusal(request);
  if (!why.empty()) {
    ++statistics_.rejected;
    listener_->rejected(request, why);
    return why;
  }
  const double latest = std::max(now(), last_arrival_s_);
  auto job = std::make_unique<Job>();
  job->request = std::move(request);
  job->arrived_s =
      std::isfinite(arrived_s) ? std::clamp(arrived_s, last_arrival_s_, latest) : latest;
  last_arrival_s_ = job->arrived_s;
  known_.insert(job->request.id);
  ++statistics_.accepted;
  const Job& added = *queue_.emplace_back(std::move(job));
  listener_->accepted(added.request, added.arrived_s);
  return "";
}

bool Server::cancel(const std::string& id) {
  for (const auto* jobs : {&queue_, &running_}) {
    for (const auto& job : *jobs) {
      if (job->request.id != id || job->end) continue;
      finish(*job, End::cancelled);
      if (!in_step_) remove_finished();
      return true;
    }
  }
  return false;
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

// Moves waiting requests into free slots, in their order; past one that does not fit only as often
// as it may be overtaken.
void Server::start_waiting() {
  const auto bars_others = [&](const std::unique_ptr<Job>& job) {
    return !job->end && job->overtaken >= options_.overtaking;
  };
  for (std::size_t place = 0; place < queue_.size() && !free_slots_.empty();) {
    const auto ahead = queue_.begin() + static_cast<std::ptrdiff_t>(place);
    if (std::any_of(queue_.begin(), ahead, bars_others)) return;
    if (queue_[place]->end || !start(place)) ++place;  // else the next one stands there
  }
}

// false: it does not fit now, or can never, and has ended.
bool Server::start(std::size_t place) {
  Job& job = *queue_[place];
  const int64_t slot = free_slots_.back();
  bool fits = false;
  const auto positions =
      static_cast<int64_t>(job.request.tokens.size()) + job.request.max_new_tokens;
  std::string why = failure_of([&] { fits = model_.reserve(slot, positions); });
  if (why.empty() && !fits && running_.empty()) {
    why = fmt::format("request {}: no room for {} positions, though nothing else runs",
                      golden::printable(job.request.id), positions);
  }
  if (!why.empty()) {
    finish(job, End::failed, why);
    return false;
  }
  if (!fits) return false;
  for (std::size_t before = 0; before < place; ++before) {
    if (queue_[before]->end) continue;
    ++queue_[before]->overtaken;
    statistics_.overtaken_most = std::max(statistics_.overtaken_most, queue_[before]->overtaken);
  }
  free_slots_.pop_back();
  job.slot = slot;
  job.started_s = now_s_;
  statistics_.wait_s.add(now_s_ - job.arrived_s);
  running_.push_back(std::move(queue_[place]));
  queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(place));
  listener_->started(job.request, slot, now_s_);
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
}

// Takes what has ended out of queue and slots before anybody hears of it: a listener may submit.
void Server::remove_finished() {
  std::vector<std::unique_ptr<Job>> gone;
  for (auto* jobs : {&queue_, &running_}) {
    const auto first = std::stable_partition(jobs->begin(), jobs->end(),
                                             [](const auto& job) { return !job->end; });
    std::move(first, jobs->end(), std::back_inserter(gone));
    jobs->erase(first, jobs->end());
  }
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
