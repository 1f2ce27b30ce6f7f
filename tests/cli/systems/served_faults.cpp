#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <new>
#include <optional>

#include "golden/contract/error.h"
#include "tests/cli/systems/faults.h"
#include "tests/cli/systems/served_scene.h"

namespace assay::systems_test {
namespace {

const std::string kRefusedAppend = "no memory in the midst of a step";  // of the reference

struct Fault {
  std::function<void(Run&)> first, second;
  std::string rejection;         // words of it; "" where the victim is accepted
  std::optional<End> end;        // of the victim
  std::string why;               // words of its failure
  bool may_end_another = false;  // where it runs by itself
  bool jumps = false;            // of the clock, counted
};

Request victim_of(FaultRandom& random, const Scene& scene) {
  return {.id = kVictim,
          .tokens = drawn_prompt(random, scene.config, 9),
          .max_new_tokens = drawn(random, 8, 14)};
}

Fault rejecting(Request request, const std::string& words) {
  Fault fault;
  fault.rejection = words;
  fault.first = [request](Run& run) { run.rejected = run.server.submit(request); };
  return fault;
}

Fault submitting(const Request& request) {
  Fault fault;
  fault.first = [request](Run& run) { run.rejected = run.server.submit(request); };
  return fault;
}

using MakeFault = std::function<Fault(FaultRandom&, const Scene&)>;

const std::map<std::string, MakeFault>& faults_of_requests() {
  static const std::map<std::string, MakeFault> kFaults{
      {"empty",
       [](FaultRandom&, const Scene&) {
         return rejecting({.id = kVictim, .tokens = {}, .max_new_tokens = 3},
                          "request victim: tokens: expected at least 1, got none");
       }},
      {"nothing asked for",
       [](FaultRandom& random, const Scene& scene) {
         Request request = victim_of(random, scene);
         request.max_new_tokens = -drawn(random, 0, 3);
         return rejecting(request, "max_new_tokens: expected at least 1");
       }},
      {"over-long",
       [](FaultRandom& random, const Scene& scene) {
         Request request = victim_of(random, scene);
         const bool prompt = drawn(random, 0, 1) == 0;
         if (prompt) request.tokens.resize(static_cast<std::size_t>(drawn(random, 80, 300)), 1);
         if (!prompt) request.max_new_tokens = std::numeric_limits<int64_t>::max();
         return rejecting(request, "request victim: expected at most ");
       }},
      {"token out of range",
       [](FaultRandom& random, const Scene& scene) {
         Request request = victim_of(random, scene);
         const std::vector<int32_t> bad{-1, static_cast<int32_t>(scene.config.vocab_size),
                                        std::numeric_limits<int32_t>::min(),
                                        std::numeric_limits<int32_t>::max()};
         const int64_t last = static_cast<int64_t>(request.tokens.size()) - 1;
         const int64_t place = drawn(random, 0, last);
         request.tokens[static_cast<std::size_t>(place)] =
             bad[static_cast<std::size_t>(drawn(random, 0, 3))];
         return rejecting(request, fmt::format("tokens at {}: expected 0 .. ", place));
       }},
      {"stop token out of range",
       [](FaultRandom& random, const Scene& scene) {
         Request request = victim_of(random, scene);
         request.stop_token = static_cast<int32_t>(scene.config.vocab_size);
         return rejecting(request, "stop_token: expected 0 .. ");
       }},
      {"duplicated id", [](FaultRandom& random, const Scene& scene) {
         Request request = victim_of(random, scene);
         request.id = scene.visitors.front().request.id;
         Fault fault = rejecting(request, "there is one of that id already");
         fault.second = fault.first;  // behind its arrival, whether it waits, runs or has ended
         fault.first = nullptr;
         return fault;
       }}};
  return kFaults;
}

std::function<void(Run&)> refuse_memory_once(bool of_reserve) {
  return [of_reserve](Run& run) {
    const auto refuse = [&run, left = 1](const auto&...) mutable {
      if (left-- > 0) throw std::bad_alloc();
    };
    if (of_reserve) run.troubled.on_reserve = refuse;
    if (!of_reserve) run.troubled.before_step = refuse;
  };
}

const std::map<std::string, MakeFault>& faults_of_the_world() {
  static const std::map<std::string, MakeFault> kFaults{
      {"cancelled",
       [](FaultRandom& random, const Scene& scene) {
         Fault fault = submitting(victim_of(random, scene));
         fault.second = [](Run& run) {
           if (!run.server.cancel(kVictim)) run.problem = "the victim cannot be cancelled";
           if (run.server.cancel(kVictim)) run.problem = "the victim is cancelled twice";
         };
         fault.end = End::cancelled;
         return fault;
       }},
      {"clock jumps back",
       [](FaultRandom& random, const Scene&) {
         Fault fault;
         const double back_s = 0.002 * static_cast<double>(drawn(random, 1, 100000));
         fault.first = [back_s](Run& run) { run.clock_s -= back_s; };
         fault.jumps = true;
         return fault;
       }},
      {"clock says no number",
       [](FaultRandom&, const Scene&) {
         Fault fault;
         fault.first = [](Run& run) { run.broken_clock = true; };
         fault.second = [](Run& run) {
           run.server.step();
           run.broken_clock = false;
         };
         fault.jumps = true;
         return fault;
       }},
      {"no memory for one more request",
       [](FaultRandom& random, const Scene& scene) {
         Request request = victim_of(random, scene);
         request.max_new_tokens = 20;  // nobody else has as many positions
         const int64_t positions = 20 + static_cast<int64_t>(request.tokens.size());
         Fault fault = submitting(request);
         fault.first = [request, positions](Run& run) {
           run.troubled.on_reserve = [positions](int64_t asked) {
             if (asked == positions) throw std::bad_alloc();
           };
           run.rejected = run.server.submit(request);
         };
         fault.end = End::failed;
         fault.why = "not enough memory for one more block";
         return fault;
       }},
      {"no memory for one more block",
       [](FaultRandom&, const Scene&) {
         Fault fault;
         fault.first = refuse_memory_once(false);
         fault.may_end_another = true;
         return fault;
       }},
      {"no memory as somebody starts",
       [](FaultRandom&, const Scene&) {
         Fault fault;
         fault.first = refuse_memory_once(true);
         fault.may_end_another = true;
         return fault;
       }},
      {kRefusedAppend,
       [](FaultRandom& random, const Scene&) {
         Fault fault;
         const int64_t left = drawn(random, 1, 6);
         fault.first = [left](Run& run) { run.appends_left = left; };
         fault.may_end_another = true;
         return fault;
       }},
      {"a step that fails",
       [](FaultRandom& random, const Scene& scene) {
         Fault fault = submitting(victim_of(random, scene));
         fault.second = [](Run& run) {
           run.troubled.before_step = [&run](std::span<const serving::SlotTokens> batch) {
             if (run.holds_victim(batch)) throw InputError("chunk: unlucky");
           };
         };
         fault.end = End::failed;
         fault.why = "chunk: unlucky";
         return fault;
       }},
      {"logits that are no numbers", [](FaultRandom& random, const Scene& scene) {
         Fault fault = submitting(victim_of(random, scene));
         fault.second = [](Run& run) {
           run.troubled.after_step = [&run](std::span<const serving::SlotTokens> batch,
                                            std::span<double> logits) {
             const std::size_t V = logits.size() / batch.size();
             for (std::size_t i = 0; i < batch.size(); ++i) {
               if (batch[i].slot == run.victim_slot) logits[i * V] = std::nan("");
             }
           };
         };
         fault.end = End::failed;
         fault.why = "expected numbers, got NaN";
         return fault;
       }}};
  return kFaults;
}

// What an outcome has in common with the same one elsewhere: everything, or its beginning.
bool agrees(const Run& run, const Run& other, const std::string& id, bool whole) {
  const std::vector<int32_t>&a = run.outcomes.at(id).tokens, &b = other.outcomes.at(id).tokens;
  const auto row = [](const Run& of, const std::string& name) {
    const auto found = of.logits.find(name);
    return found == of.logits.end() ? std::vector<double>() : found->second;
  };
  const std::vector<double> x = row(run, id), y = row(other, id);
  if (whole && (a.size() != b.size() || x.size() != y.size())) return false;
  return a.size() <= b.size() && std::equal(a.begin(), a.end(), b.begin()) &&
         x.size() <= y.size() && std::equal(x.begin(), x.end(), y.begin());
}

std::string problem_of_victim(const Fault& fault, const Run& run, const Run& alone) {
  if (fault.rejection.empty() && !run.rejected.empty()) return "rejected: " + run.rejected;
  if (!fault.rejection.empty() && run.rejected.find(fault.rejection) == std::string::npos) {
    return fmt::format("expected '{}', got '{}'", fault.rejection, run.rejected);
  }
  if (!fault.end) return "";
  const auto found = run.outcomes.find(kVictim);
  if (found == run.outcomes.end()) return "the victim has not ended";
  const Outcome& victim = found->second;
  if (victim.end != *fault.end || victim.why.find(fault.why) == std::string::npos) {
    return fmt::format("the victim ends as {}: {}", end_name(victim.end), victim.why);
  }
  return agrees(run, alone, kVictim, false) ? "" : "the victim's tokens are not its own";
}

std::string problem_of_others(const Fault& fault, const Scene& scene, const Run& run,
                              const Run& undisturbed) {
  int64_t failed = 0;
  for (const Visitor& visitor : scene.visitors) {
    const std::string& id = visitor.request.id;
    const auto found = run.outcomes.find(id);
    if (found == run.outcomes.end()) return id + " is lost";
    const Outcome& outcome = found->second;
    const bool fails = outcome.end == End::failed && fault.may_end_another;
    failed += fails ? 1 : 0;
    if (failed > 1) return "more than one request fails";
    if (fails && outcome.why.find("not enough memory") == std::string::npos) return outcome.why;
    if (!fails && outcome.end != End::length) return id + " ends as " + end_name(outcome.end);
    if (!agrees(run, undisturbed, id, !fails)) return id + " gets other tokens or logits";
  }
  return "";
}

}  // namespace

const std::vector<std::string>& served_faults() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const auto& [name, make] : faults_of_requests()) names.push_back(name);
    for (const auto& [name, make] : faults_of_the_world()) names.push_back(name);
    return names;
  }();
  return kNames;
}

std::string problem_of_served(const std::string& name, const std::string& asked, uint64_t seed) {
  const std::string backend = name == kRefusedAppend ? "refusing" : asked;
  FaultRandom random(seed);
  Scene scene = drawn_scene(random, seed);
  const bool of_request = faults_of_requests().contains(name);
  const MakeFault& make = (of_request ? faults_of_requests() : faults_of_the_world()).at(name);
  if (name == "duplicated id") {
    scene.second_turn = std::max(scene.second_turn, scene.visitors.front().turn);
  }
  FaultRandom again = random;
  const Fault fault = make(random, scene);
  Run undisturbed(scene, backend);
  undisturbed.play(nullptr, nullptr);
  Run run(scene, backend);
  run.play(fault.first, fault.second);
  Scene lonely = scene;
  lonely.visitors.clear();
  Run alone(lonely, backend);
  if (fault.end) {
    Request request = victim_of(again, scene);
    if (name == "no memory for one more request") request.max_new_tokens = 20;
    alone.play([request](Run& of) { of.rejected = of.server.submit(request); }, nullptr);
  }
  if (!undisturbed.problem.empty()) return "without a fault: " + undisturbed.problem;
  if (!run.problem.empty()) return run.problem;
  if (fault.jumps && run.server.statistics().clock_jumps == 0) return "no jump is counted";
  const std::string of_victim = problem_of_victim(fault, run, alone);
  return of_victim.empty() ? problem_of_others(fault, scene, run, undisturbed) : of_victim;
}

}  // namespace assay::systems_test
