// Whether a server did with its requests what it says, from what it told while it ran: nobody
// lost, nobody run twice, and the oldest not overtaken beyond the bound.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "verify/verdict.h"

namespace assay::verify {

// Told in the order in which it happens.
class ServingAudit {
 public:
  explicit ServingAudit(int64_t overtaking_bound) : bound_(overtaking_bound) {}

  void accepted(const std::string& id);
  void rejected(const std::string& id);
  void started(const std::string& id);
  // The index-th new token; `most`: max_new_tokens of the request.
  void token(const std::string& id, int64_t index, int64_t most);
  void ended(const std::string& id);

  int64_t overtaken_most() const { return overtaken_most_; }
  // Once everything has ended. `submitted` requests were handed over.
  Check check(int64_t submitted) const;

 private:
  enum class State { waiting, running, over };
  struct Life {
    State state = State::waiting;
    int64_t arrival = 0, overtaken = 0, tokens = 0;
  };

  Life* find(const std::string& id, const char* event);
  void fault(const std::string& text) { faults_.push_back(text); }

  int64_t bound_, arrivals_ = 0, rejected_ = 0, overtaken_most_ = 0, starts_ = 0;
  std::map<std::string, Life> lives_;
  std::map<int64_t, std::string> waiting_;  // by arrival
  std::vector<std::string> faults_;
};

}  // namespace assay::verify
