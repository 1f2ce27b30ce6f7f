#include "verify/systems/serving_audit.h"

#include <fmt/format.h>

#include <algorithm>

#include "golden/contract/error.h"

namespace assay::verify {
namespace {

constexpr std::size_t kMostFaultsTold = 8;

}  // namespace

ServingAudit::Life* ServingAudit::find(const std::string& id, const char* event) {
  const auto life = lives_.find(id);
  if (life != lives_.end()) return &life->second;
  fault(fmt::format("request {}: {}, and nobody accepted it", golden::printable(id), event));
  return nullptr;
}

void ServingAudit::accepted(const std::string& id) {
  const auto [life, is_new] = lives_.try_emplace(id);
  if (!is_new) {
    fault(fmt::format("request {}: accepted twice", golden::printable(id)));
    return;
  }
  life->second.arrival = arrivals_;
  waiting_[arrivals_++] = id;
}

void ServingAudit::rejected(const std::string&) { ++rejected_; }

void ServingAudit::started(const std::string& id) {
  Life* const life = find(id, "started");
  if (life == nullptr) return;
  if (life->state != State::waiting) {
    fault(fmt::format("request {}: run again {}", golden::printable(id),
                      life->state == State::over ? "after it had ended" : "while it ran"));
    return;
  }
  ++starts_;
  life->state = State::running;
  waiting_.erase(life->arrival);
  for (auto earlier = waiting_.begin(); earlier != waiting_.lower_bound(life->arrival); ++earlier) {
    Life& overtaken = lives_.at(earlier->second);
    overtaken_most_ = std::max(overtaken_most_, ++overtaken.overtaken);
    if (overtaken.overtaken != bound_ + 1) continue;
    fault(fmt::format("request {}: overtaken {} times by later ones, the bound is {}",
                      golden::printable(earlier->second), overtaken.overtaken, bound_));
  }
}

void ServingAudit::token(const std::string& id, int64_t index, int64_t most) {
  Life* const life = find(id, "got a token");
  if (life == nullptr) return;
  const std::string name = golden::printable(id);
  if (life->state != State::running) {
    fault(fmt::format("request {}: token {} while it did not run", name, index));
  } else if (index != life->tokens) {
    fault(
        fmt::format("request {}: expected its token {}, got token {}", name, life->tokens, index));
  } else if (index >= most) {
    fault(fmt::format("request {}: token {}, and {} were asked for", name, index, most));
  }
  ++life->tokens;
}

void ServingAudit::ended(const std::string& id) {
  Life* const life = find(id, "ended");
  if (life == nullptr) return;
  if (life->state == State::over) {
    fault(fmt::format("request {}: ended twice", golden::printable(id)));
  }
  if (life->state == State::waiting) waiting_.erase(life->arrival);
  life->state = State::over;
}

Check ServingAudit::check(int64_t submitted) const {
  Check check;
  check.name = "serving: requests";
  std::vector<std::string> faults = faults_;
  int64_t lost = submitted - rejected_ - static_cast<int64_t>(lives_.size());
  if (lost != 0) {
    faults.push_back(fmt::format("{} requests handed over, {} accepted, {} rejected", submitted,
                                 lives_.size(), rejected_));
  }
  for (const auto& [id, life] : lives_) {
    if (life.state == State::over) continue;
    ++lost;
    faults.push_back(fmt::format("request {}: lost {}", golden::printable(id),
                                 life.state == State::running ? "while it ran" : "in the queue"));
  }
  check.status = !faults.empty() ? Status::fail
                 : starts_ == 0  ? Status::inconclusive
                                 : Status::pass;
  check.summary = fmt::format(
      "{} handed over, {} rejected, {} run, {} lost; overtaken at most {} times, bound {}; {} "
      "faults",
      submitted, rejected_, starts_, lost, overtaken_most_, bound_, faults.size());
  if (faults.size() > kMostFaultsTold) {
    const std::size_t more = faults.size() - kMostFaultsTold;
    faults.resize(kMostFaultsTold);
    faults.push_back(fmt::format("and {} more", more));
  }
  check.details = std::move(faults);
  return check;
}

}  // namespace assay::verify
