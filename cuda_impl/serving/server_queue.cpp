// How requests come into the queue, out of it, and into a slot.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cuda_impl/serving/server.h"
#include "cuda_impl/serving/server_job.h"
#include "golden/contract/error.h"

namespace assay::serving {

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
  if (!known_.contains(id)) return false;
  const auto is_it = [&](const std::unique_ptr<Job>& job) {
    return job->request.id == id && !job->end;
  };
  Job* found = nullptr;
  const auto running = std::find_if(running_.begin(), running_.end(), is_it);
  if (running != running_.end()) found = running->get();
  const auto waiting_job = std::find_if(queue_.begin(), queue_.end(), is_it);
  if (waiting_job != queue_.end()) found = waiting_job->get();
  if (found == nullptr) return false;
  finish(*found, End::cancelled);
  if (!in_step_) remove_finished();
  return true;
}

// ------------------------------------------------------------------------------------------------
// into a slot

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
  bool fits = false, shared = false;
  const auto positions =
      static_cast<int64_t>(job.request.tokens.size()) + job.request.max_new_tokens;
  const Beginning beginning = beginning_of(job);
  std::string why = failure_of([&] { fits = make_room(slot, positions, beginning, shared); });
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
  if (shared) {
    job.read = beginning.positions;
    statistics_.shared_tokens += beginning.positions;
  }
  running_.push_back(std::move(queue_[place]));
  queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(place));
  listener_->started(job.request, slot, now_s_);
  return true;
}

// The running sequence that begins with most of the prompt.
Server::Beginning Server::beginning_of(const Job& job) const {
  Beginning best;
  if (options_.shared_prefix == 0) return best;
  const auto most = static_cast<int64_t>(job.request.tokens.size()) - 1;
  for (const auto& other : running_) {
    const int64_t common = std::min(most, other->common_with(job.request.tokens));
    if (other->end || common <= best.positions) continue;
    best = {other->slot, common};
  }
  return best.positions < options_.shared_prefix ? Beginning{} : best;
}

// false: it reads its prompt by itself.
bool Server::share_prefix(const Beginning& beginning, int64_t slot) {
  if (beginning.positions == 0) return false;
  bool shared = false;
  const std::string why =
      failure_of([&] { shared = model_.share(beginning.slot, slot, beginning.positions); });
  return why.empty() && shared;
}

// What is shared takes no room, where the model can do that.
bool Server::make_room(int64_t slot, int64_t positions, const Beginning& beginning, bool& shared) {
  if (!model_.shares_room()) {
    const bool fits = model_.reserve(slot, positions);
    shared = fits && share_prefix(beginning, slot);
    return fits;
  }
  shared = share_prefix(beginning, slot);
  bool fits = false;
  try {
    fits = model_.reserve(slot, positions);
  } catch (...) {
    model_.release(slot);
    throw;
  }
  if (!fits) model_.release(slot);
  return fits;
}

}  // namespace assay::serving
