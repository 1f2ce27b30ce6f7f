// The server loop on a model that hashes its sequences: what a request gets is what it gets alone,
// and whatever goes wrong with one is lost on no other.
#include "cuda_impl/serving/server.h"

#include <boost/test/unit_test.hpp>
#include <limits>
#include <map>
#include <random>
#include <set>

#include "golden/contract/error.h"
#include "hashing_model.h"

using namespace assay;
using namespace assay::serving;
using assay::serving_test::HashingModel;
using assay::serving_test::tokens_alone;

namespace {

constexpr int64_t kV = 50, kCapacity = 64;

struct Log : Listener {
  std::map<std::string, Outcome> outcomes;
  std::vector<std::string> started_ids, rejections;
  std::function<void(const Token&)> on_token;
  std::function<void(const Outcome&)> on_end;

  void rejected(const Request&, const std::string& why) override { rejections.push_back(why); }
  void started(const Request& request, int64_t, double) override {
    started_ids.push_back(request.id);
  }
  void token(const Token& token) override {
    if (on_token) on_token(token);
  }
  void ended(const Outcome& outcome) override {
    BOOST_REQUIRE_MESSAGE(outcomes.emplace(outcome.id, outcome).second, outcome.id << " twice");
    if (on_end) on_end(outcome);
  }
};

struct Bench {
  double now_s = 0;
  Log log;
  HashingModel model;
  Server server;

  explicit Bench(const ServerOptions& options, int64_t slots = 4, int64_t blocks = 1 << 20)
      : model(slots, kCapacity, kV, blocks),
        server(
            model, options, [this] { return now_s; }, &log) {}
  void drain() {
    for (int i = 0; !server.idle(); ++i) {
      BOOST_REQUIRE_LT(i, 100000);
      if (!server.step()) now_s += 0.001;
    }
  }
  std::string submit(const std::string& id, std::vector<int32_t> tokens, int64_t count) {
    return server.submit({id, std::move(tokens), count});
  }
};

const ServerOptions kFour{.max_batch = 4, .max_wait_s = 0.5};

void require_alone(const Outcome& outcome, const std::vector<int32_t>& prompt, int64_t count) {
  const std::vector<int32_t> expected = tokens_alone(prompt, count, kCapacity, kV);
  BOOST_TEST(outcome.tokens == expected, boost::test_tools::per_element());
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_batch_starts_when_it_is_full) {
  Bench bench(kFour);
  for (const char* id : {"a", "b", "c"}) bench.submit(id, {1}, 2);
  BOOST_TEST(!bench.server.step());
  bench.submit("d", {2}, 2);
  BOOST_TEST(bench.server.step());
  BOOST_TEST(bench.server.running() == 4);
}

BOOST_AUTO_TEST_CASE(a_batch_starts_when_its_oldest_has_waited) {
  Bench bench(kFour);
  bench.submit("a", {1}, 2);
  bench.now_s = 0.4;
  bench.submit("b", {1}, 2);
  BOOST_TEST(!bench.server.step());
  BOOST_TEST(*bench.server.next_start_s() == 0.5);
  bench.now_s = 0.5;
  BOOST_TEST(bench.server.step());
  BOOST_TEST(bench.server.running() == 2);
  BOOST_TEST(bench.server.statistics().wait_s.mean() == 0.3, boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(requests_join_and_leave_between_steps) {
  Bench bench(kFour);
  for (const char* id : {"a", "b", "c"}) bench.submit(id, {1}, 5);
  bench.submit("short", {2, 3}, 1);
  bench.server.step();
  BOOST_TEST(bench.server.running() == 3);  // "short" has left
  bench.submit("late", {4}, 1);
  bench.server.step();
  BOOST_TEST(bench.log.outcomes.contains("late"));
  bench.drain();
  BOOST_TEST(bench.server.statistics().finished == 5);
  require_alone(bench.log.outcomes.at("late"), {4}, 1);
  require_alone(bench.log.outcomes.at("a"), {1}, 5);
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_a_request_is_said_and_others_run) {
  Bench bench(kFour);
  BOOST_TEST(bench.submit("good", {1, 2}, 3) == "");
  const auto rejected = [&](const std::string& why, const std::string& words) {
    BOOST_TEST_INFO_SCOPE(why);
    BOOST_TEST(why.find(words) != std::string::npos);
  };
  rejected(bench.submit("good", {3}, 1), "there is one of that id");
  rejected(bench.submit("", {3}, 1), "expected a name");
  rejected(bench.submit("empty", {}, 1), "tokens: expected at least 1, got none");
  rejected(bench.submit("none", {1}, 0), "max_new_tokens: expected at least 1, got 0");
  rejected(bench.submit("negative", {1}, -4), "max_new_tokens: expected at least 1, got -4");
  rejected(bench.submit("long", std::vector<int32_t>(60, 1), 5), "at most 64 positions, got 60");
  rejected(bench.submit("longest", {1}, std::numeric_limits<int64_t>::max()), "at most 64");
  rejected(bench.submit("high", {1, 50}, 1), "tokens at 1: expected 0 .. 49, got 50");
  rejected(bench.submit("low", {-1}, 1), "tokens at 0: expected 0 .. 49, got -1");
  rejected(bench.server.submit({"stop", {1}, 1, 50}), "stop_token: expected 0 .. 49, got 50");
  BOOST_TEST(bench.log.rejections.size() == 10u);
  bench.drain();
  rejected(bench.submit("good", {3}, 1), "there is one of that id");  // it has ended
  BOOST_TEST(bench.log.outcomes.size() == 1u);
  require_alone(bench.log.outcomes.at("good"), {1, 2}, 3);
  BOOST_TEST(bench.submit("fits", std::vector<int32_t>(60, 1), 4) == "");
  BOOST_TEST(bench.submit("empty", {1}, 1) == "");  // a rejected id is free
  bench.drain();
  BOOST_TEST(bench.log.outcomes.size() == 3u);
}

BOOST_AUTO_TEST_CASE(a_full_queue_rejects) {
  ServerOptions options = kFour;
  options.max_queue = 1;
  Bench bench(options);
  BOOST_TEST(bench.submit("a", {1}, 1) == "");
  BOOST_TEST(bench.submit("b", {1}, 1) ==
             "request b: the queue is full: 1 wait already; try again later");
}

BOOST_AUTO_TEST_CASE(a_stop_token_ends_a_request_as_its_last_token) {
  const std::vector<int32_t> all = tokens_alone({7, 8}, 20, kCapacity, kV);
  Bench bench(kFour);
  bench.server.submit({"a", {7, 8}, 20, all[4]});
  bench.drain();
  const auto first = std::find(all.begin(), all.end(), all[4]);
  const std::vector<int32_t> expected(all.begin(), first + 1);
  BOOST_TEST(bench.log.outcomes.at("a").tokens == expected, boost::test_tools::per_element());
  BOOST_TEST((bench.log.outcomes.at("a").end == End::stop));
}

BOOST_AUTO_TEST_CASE(cancelled_in_the_queue_while_running_and_by_a_listener) {
  ServerOptions options = kFour;
  options.max_batch = 2;
  Bench bench(options);
  for (const char* id : {"a", "b", "waiting"}) bench.submit(id, {1}, 6);
  bench.log.on_token = [&](const Token& token) {
    if (token.id == "a" && token.index == 2) BOOST_TEST(bench.server.cancel("b"));
    if (token.id == "a" && token.index == 3) BOOST_TEST(bench.server.cancel("a"));
  };
  bench.server.step();
  BOOST_TEST(bench.server.cancel("waiting"));
  BOOST_TEST(!bench.server.cancel("waiting"));
  BOOST_TEST(!bench.server.cancel("nobody"));
  bench.drain();
  BOOST_TEST(!bench.server.cancel("a"));
  const Outcome& a = bench.log.outcomes.at("a");
  BOOST_TEST((a.end == End::cancelled));
  require_alone(a, {1}, 4);
  require_alone(bench.log.outcomes.at("b"), {1}, 2);
  BOOST_TEST(!bench.log.outcomes.at("waiting").started_s.has_value());
  BOOST_TEST(bench.server.statistics().cancelled == 3);
  BOOST_TEST(bench.model.free_blocks() == 1 << 20);
}

BOOST_AUTO_TEST_CASE(a_listener_may_submit_what_follows) {
  Bench bench(kFour);
  bench.log.on_end = [&](const Outcome& outcome) {
    if (outcome.id.size() < 5) bench.submit(outcome.id + "x", {1, 2}, 2);
    BOOST_TEST(bench.submit(outcome.id, {1}, 1) != "");  // an ended id stays known
  };
  bench.submit("a", {1}, 2);
  bench.drain();
  BOOST_TEST(bench.log.outcomes.size() == 5u);
  require_alone(bench.log.outcomes.at("axxxx"), {1, 2}, 2);
}

BOOST_AUTO_TEST_CASE(a_clock_that_jumps_back_stops_nobody) {
  Bench bench(kFour);
  bench.now_s = 1000;
  bench.submit("a", {1}, 2);
  bench.now_s = 3;
  BOOST_TEST(!bench.server.step());
  bench.now_s = 3.5;
  BOOST_TEST(bench.server.step());
  bench.now_s = std::numeric_limits<double>::quiet_NaN();
  bench.server.step();
  BOOST_TEST(bench.server.idle());
  BOOST_TEST(bench.server.statistics().clock_jumps >= 2);
  const Outcome& a = bench.log.outcomes.at("a");
  BOOST_TEST(*a.started_s - a.arrived_s == 0.5);
  BOOST_TEST(a.ended_s >= *a.started_s);
  require_alone(a, {1}, 2);
}

BOOST_AUTO_TEST_CASE(who_does_not_fit_is_overtaken_so_often_and_no_more) {
  ServerOptions options{.max_batch = 4, .max_wait_s = 0, .overtaking = 3};
  Bench bench(options, 4, 16);     // 16 blocks of 4 positions
  bench.submit("first", {1}, 7);   // 2 blocks
  bench.submit("large", {1}, 60);  // all 16: waits for everybody
  for (int i = 0; i < 8; ++i) bench.submit("small" + std::to_string(i), {i}, 3);
  bench.drain();
  BOOST_TEST(bench.log.outcomes.size() == 10u);
  BOOST_TEST(bench.log.outcomes.at("large").overtaken == 3);
  BOOST_TEST(bench.server.statistics().overtaken_most == 3);
  const auto& order = bench.log.started_ids;
  BOOST_TEST(order.at(4) == "large");
  for (int i = 3; i < 8; ++i) {
    BOOST_TEST(bench.log.outcomes.at("small" + std::to_string(i)).overtaken == 0);
  }
}

// With room for everybody nobody overtakes.
BOOST_AUTO_TEST_CASE(requests_start_in_the_order_they_came) {
  Bench bench(kFour);
  std::vector<std::string> ids;
  for (int i = 0; i < 40; ++i) {
    ids.push_back("r" + std::to_string(i));
    bench.submit(ids.back(), {i}, 1 + i % 7);
  }
  bench.drain();
  BOOST_TEST(bench.log.started_ids == ids, boost::test_tools::per_element());
  BOOST_TEST(bench.server.statistics().overtaken_most == 0);
}

BOOST_AUTO_TEST_CASE(refused_memory_ends_its_request_alone) {
  Bench bench(kFour);
  bench.model.on_reserve = [](int64_t positions) {
    if (positions == 13) throw std::bad_alloc();
  };
  bench.submit("a", {1}, 4);
  bench.submit("refused", {1, 2, 3}, 10);
  bench.submit("b", {2}, 4);
  bench.now_s = 1;
  bench.drain();
  const Outcome& refused = bench.log.outcomes.at("refused");
  BOOST_TEST((refused.end == End::failed));
  BOOST_TEST(refused.why == "not enough memory for one more block of its cache or its step");
  require_alone(bench.log.outcomes.at("a"), {1}, 4);
  require_alone(bench.log.outcomes.at("b"), {2}, 4);
}

BOOST_AUTO_TEST_CASE(a_model_that_refuses_for_no_reason_stops_nobody) {
  Bench bench({.max_batch = 2, .max_wait_s = 0}, 2, 4);
  bench.submit("large", {1}, 40);  // within capacity, beyond the 4 blocks there are
  bench.submit("small", {1}, 4);
  bench.drain();
  BOOST_TEST((bench.log.outcomes.at("large").end == End::failed));
  require_alone(bench.log.outcomes.at("small"), {1}, 4);
}

BOOST_AUTO_TEST_CASE(a_failing_step_ends_those_that_fail_alone) {
  Bench bench(kFour);
  bench.model.on_step = [](std::span<const SlotTokens> batch) {
    for (const SlotTokens& row : batch) {
      if (row.tokens.back() == 13) throw InputError("chunk: 13 is unlucky");
    }
  };
  bench.submit("a", {1}, 2);
  bench.submit("unlucky", {13}, 4);
  bench.submit("b", {2}, 2);
  bench.submit("c", {3}, 2);
  bench.drain();
  BOOST_TEST((bench.log.outcomes.at("unlucky").end == End::failed));
  BOOST_TEST(bench.log.outcomes.at("unlucky").why == "chunk: 13 is unlucky");
  for (const auto& [id, token] : {std::pair{"a", 1}, {"b", 2}, {"c", 3}}) {
    require_alone(bench.log.outcomes.at(id), {token}, 2);
  }
  BOOST_TEST(bench.server.statistics().retried_steps == 1);
}

BOOST_AUTO_TEST_CASE(logits_that_are_no_numbers_fail_their_request) {
  struct NanModel : HashingModel {
    using HashingModel::HashingModel;
    void step(std::span<const SlotTokens> batch, std::span<double> logits) override {
      HashingModel::step(batch, logits);
      for (std::size_t i = 0; i < batch.size(); ++i) {
        if (batch[i].tokens.front() == 13) logits[i * kV + 7] = std::nan("");
      }
    }
  } model(2, kCapacity, kV);
  Log log;
  Server server(
      model, {.max_batch = 2}, [] { return 0.0; }, &log);
  server.submit({"a", {13}, 2});
  server.submit({"b", {12}, 1});
  server.step();
  BOOST_TEST((log.outcomes.at("a").end == End::failed));
  BOOST_TEST(log.outcomes.at("a").why ==
             "request a: logits behind position 0: expected numbers, got NaN");
  require_alone(log.outcomes.at("b"), {12}, 1);
}

// Equal logits: the lowest id.
BOOST_AUTO_TEST_CASE(of_equal_logits_the_lowest_id_is_chosen) {
  struct Flat : HashingModel {
    using HashingModel::HashingModel;
    void step(std::span<const SlotTokens> batch, std::span<double> logits) override {
      HashingModel::step(batch, logits);
      for (std::size_t v = 0; v < logits.size(); ++v) logits[v] = v == 3 || v == 9 ? 1.0 : -1.0;
    }
  } model(1, kCapacity, kV);
  Log log;
  Server server(
      model, {.max_batch = 1}, [] { return 0.0; }, &log);
  server.submit({"a", {1}, 1});
  server.step();
  BOOST_TEST(log.outcomes.at("a").tokens.front() == 3);
}

// A prompt that is another's beginning, one that goes on behind its new tokens, one that parts.
BOOST_AUTO_TEST_CASE(what_runs_already_is_not_read_again) {
  Bench bench({.max_batch = 4, .max_wait_s = 0, .shared_prefix = 3});
  const std::vector<int32_t> first{1, 2, 3, 4, 5, 6};
  bench.submit("first", first, 8);
  for (int i = 0; i < 3; ++i) bench.server.step();
  BOOST_TEST(bench.model.tokens == 8);  // the prompt, and two of its three new tokens
  std::vector<int32_t> longer = first;
  const std::vector<int32_t> news = tokens_alone(first, 3, kCapacity, kV);
  longer.insert(longer.end(), news.begin(), news.end());
  bench.submit("same", first, 2);
  bench.submit("longer", longer, 2);
  bench.submit("parts", {1, 2, 9, 4, 5, 6}, 2);
  bench.server.step();
  BOOST_TEST(bench.model.tokens == 8 + 1 + 1 + 1 + 6);  // first; the last of same and of longer
  BOOST_TEST(bench.server.statistics().shared_tokens == 5 + 8);
  bench.drain();
  require_alone(bench.log.outcomes.at("same"), first, 2);
  require_alone(bench.log.outcomes.at("longer"), longer, 2);
  require_alone(bench.log.outcomes.at("parts"), {1, 2, 9, 4, 5, 6}, 2);
  require_alone(bench.log.outcomes.at("first"), first, 8);
}

BOOST_AUTO_TEST_CASE(options_that_no_model_serves_are_refused) {
  HashingModel model(2, kCapacity, kV);
  const auto make = [&](const ServerOptions& options) {
    Server server(model, options, [] { return 0.0; });
  };
  BOOST_CHECK_THROW(make({.max_batch = 0}), InputError);
  BOOST_CHECK_THROW(make({.max_batch = 3}), InputError);
  BOOST_CHECK_THROW(make({.max_batch = 1, .max_wait_s = -1}), InputError);
  BOOST_CHECK_THROW(make({.max_batch = 1, .max_wait_s = std::nan("")}), InputError);
  BOOST_CHECK_THROW(make({.max_batch = 1, .prefill_chunk = -1}), InputError);
  BOOST_CHECK_THROW(make({.max_batch = 1, .overtaking = -1}), InputError);
}

BOOST_AUTO_TEST_CASE(running_means_are_means) {
  RunningMean mean;
  for (const double x : {4.0, 1.0, 7.0, 8.0}) mean.add(x);
  BOOST_TEST(mean.mean() == 5.0);
  BOOST_TEST(mean.smallest() == 1.0);
  BOOST_TEST(mean.largest() == 8.0);
  BOOST_TEST(mean.count() == 4);
}

// Random requests, arrivals, cancellations, chunks of prompts, memory: everybody gets what he gets
// alone, once, and all slots and blocks come back.
BOOST_AUTO_TEST_CASE(any_traffic_gives_everybody_what_he_gets_alone) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    BOOST_TEST_INFO_SCOPE("seed " << seed);
    std::mt19937 draw(seed);
    const auto below = [&](int n) { return static_cast<int>(draw() % static_cast<unsigned>(n)); };
    const ServerOptions options{.max_batch = 1 + below(4),
                                .max_wait_s = 0.01 * below(5),
                                .prefill_chunk = below(6),
                                .overtaking = below(4),
                                .shared_prefix = below(3)};
    const int kinds = below(2) == 0 ? 2 : kV;  // of few tokens many prompts begin alike
    Bench bench(options, 4, 16 + below(30));
    std::map<std::string, Request> sent;
    std::set<std::string> cancelled;
    for (int i = 0; i < 60; ++i) {
      bench.now_s += 0.002 * below(10);
      Request request{"r" + std::to_string(i), {}, 1 + below(12)};
      for (int t = 0; t <= below(20); ++t) request.tokens.push_back(below(kinds));
      BOOST_REQUIRE_EQUAL(bench.server.submit(request), "");
      if (below(8) == 0) {
        const std::string id = "r" + std::to_string(below(i + 1));
        if (bench.server.cancel(id)) cancelled.insert(id);
      }
      for (int k = below(4); k > 0; --k) bench.server.step();
      sent[request.id] = request;
    }
    bench.drain();
    BOOST_TEST(bench.log.outcomes.size() == sent.size());
    const int64_t bound = options.overtaking;
    for (const auto& [id, request] : sent) {
      const Outcome& outcome = bench.log.outcomes.at(id);
      const bool whole = !cancelled.contains(id);
      BOOST_TEST((outcome.end == End::length) == whole);
      BOOST_TEST(outcome.overtaken <= bound);
      const auto count = static_cast<int64_t>(outcome.tokens.size());
      BOOST_TEST((count == request.max_new_tokens) == whole);
      require_alone(outcome, request.tokens, count);
    }
    BOOST_TEST(bench.server.statistics().cancelled == static_cast<int64_t>(cancelled.size()));
    std::set<std::string> once(bench.log.started_ids.begin(), bench.log.started_ids.end());
    BOOST_TEST(once.size() == bench.log.started_ids.size());
  }
}
