// Dynamic batching: requests wait in a queue, run together in steps of a model, and join and leave
// between steps. Each has its own slot, position and end; what it gets does not depend on its
// neighbours, because a step computes each sequence by itself.
//
//   start      While nothing runs, a batch starts when `max_batch` requests wait, or when the
//              oldest has waited max_wait_s. While a batch runs, waiting requests join between its
//              steps.
//   order      First come, first served. Where the oldest does not fit into what memory is left,
//              later ones that fit may start before it, `overtaking` of them in all; then nobody
//              starts before it does.
//   a step     Of each request the next tokens of its prompt, at most prefill_chunk, or the token
//              it chose last. With its prompt read it chooses the token of the largest logit, of
//              equal ones the lowest id.
//   prefixes   A prompt that begins like a sequence that runs, by shared_prefix tokens or more,
//              takes what the model keeps of them from there; its last token is read in any case.
//   memory     A request starts when there is room for its prompt and all its new tokens: what has
//              started is never refused a position.
//   time       Read from the clock around each step. Where the clock jumps back, or gives no
//              number, time goes on from where it was; clock_jumps counts that.
//   failures   A step that throws is tried with each request alone, and those fail that fail alone.
//              A request whose logits are not numbers fails.
//
// A server belongs to one thread. A listener may submit and cancel from its calls.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "cuda_impl/serving/request.h"
#include "cuda_impl/serving/running_mean.h"
#include "cuda_impl/serving/step_model.h"

namespace assay::serving {

struct ServerOptions {
  int64_t max_batch = 8;      // at most the model's slots
  double max_wait_s = 0.01;   // of the oldest, before a batch starts that is not full
  int64_t prefill_chunk = 0;  // tokens of a prompt in a step; 0: all of it
  int64_t overtaking = 8;     // later requests that may start before one that does not fit
  int64_t max_queue = 0;      // more are rejected; 0: no limit
  int64_t shared_prefix = 0;  // a beginning of so many tokens that runs already is not read again;
                              // 0: each prompt is read
};

using Clock = std::function<double()>;  // seconds

struct Token {
  const std::string& id;
  int64_t index = 0;  // among the request's new tokens
  int32_t token = 0;
  std::span<const double> logits;      // [V] that it is chosen from
  int64_t step = 0;                    // of the server
  std::span<const std::string> batch;  // ids that took part in the step
  double time_s = 0;
};

struct StepReport {
  int64_t step = 0;                // of the server
  int64_t batch = 0, waiting = 0;  // requests
  double seconds = 0, time_s = 0;  // it took, and its end
};

class Listener {
 public:
  virtual ~Listener() = default;
  virtual void accepted(const Request&, double /*arrived_s*/) {}
  virtual void rejected(const Request&, const std::string& /*why*/) {}
  virtual void started(const Request&, int64_t /*slot*/, double /*time_s*/) {}
  virtual void token(const Token&) {}
  virtual void stepped(const StepReport&) {}
  virtual void ended(const Outcome&) {}
};

struct Statistics {
  int64_t accepted = 0, rejected = 0, finished = 0, cancelled = 0, failed = 0;
  int64_t prompt_tokens = 0, new_tokens = 0;  // computed, and chosen
  int64_t shared_tokens = 0;                  // of prompts, taken from others' caches
  int64_t steps = 0, retried_steps = 0, clock_jumps = 0;
  int64_t overtaken_most = 0;  // by how many later ones a request was overtaken
  double busy_s = 0;           // in steps
  RunningMean batch_size;      // requests of a step
  RunningMean step_tokens;     // tokens of a step
  RunningMean step_rate;       // tokens chosen in a step, per second of it
  RunningMean wait_s;          // from arrival to start
  RunningMean queue_length;    // before a step
  double new_tokens_per_second() const {
    return busy_s > 0 ? static_cast<double>(new_tokens) / busy_s : 0;
  }
};

class Server {
 public:
  // The model and the listener (which may be null) outlive the server. Throws InputError for
  // options that the model cannot serve.
  Server(StepModel& model, const ServerOptions& options, Clock clock, Listener* listener = nullptr);
  ~Server();  // releases the slots in use
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // "" where the request is in the queue; else why it is not, and nothing has changed: no id or a
  // known one (also of an ended request), no tokens, tokens outside of the vocabulary, no new token
  // asked for, more positions than the model has, a full queue. arrived_s: when it came, where that
  // was before now.
  std::string submit(Request request);
  std::string submit(Request request, double arrived_s);
  // Whether the id was waiting or running; it then ends, at once or with the step in progress, and
  // no further token is handed over.
  bool cancel(const std::string& id);

  // Lets requests start and takes a step with those that run. false: nothing was to be done now.
  bool step();
  // When a batch starts if no request comes before; empty where nobody waits or a batch runs (the
  // next step is due).
  std::optional<double> next_start_s() const;

  bool idle() const { return queue_.empty() && running_.empty(); }
  int64_t waiting() const { return static_cast<int64_t>(queue_.size()); }
  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  const Statistics& statistics() const { return statistics_; }

 private:
  struct Job;

  double now();
  std::string refusal(const Request& request) const;
  bool is_due() const;
  void start_waiting();
  bool start(std::size_t place);
  // Of a running sequence: so many positions; 0: there is none to share.
  struct Beginning {
    int64_t slot = -1, positions = 0;
  };
  Beginning beginning_of(const Job& job) const;
  bool share_prefix(const Beginning& beginning, int64_t slot);
  bool make_room(int64_t slot, int64_t positions, const Beginning& beginning, bool& shared);
  void run_step();
  void compute(std::span<double> logits);
  void choose(Job& job, std::span<const double> logits, std::span<const std::string> ids);
  void finish(Job& job, End how, const std::string& why = "");
  void remove_finished();
  void close(Job& job);

  StepModel& model_;
  ServerOptions options_;
  Clock clock_;
  Listener* listener_;
  Listener silent_;
  double clock_s_ = 0, clock_offset_s_ = 0;  // as read last; what makes up for its jumps
  double now_s_ = 0, last_arrival_s_ = 0;
  std::deque<std::unique_ptr<Job>> queue_;
  std::vector<std::unique_ptr<Job>> running_;
  std::vector<int64_t> free_slots_;
  std::set<std::string> known_;  // ids, of ended requests too
  bool in_step_ = false;
  bool ended_waiting_ = false;  // somebody in the queue
  Statistics statistics_;
};

}  // namespace assay::serving
