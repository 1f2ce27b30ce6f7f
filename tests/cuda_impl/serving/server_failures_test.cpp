// What goes wrong with a request, a step, a clock or memory is lost on no other request.
#include "cuda_impl/serving/server.h"

#include <boost/test/unit_test.hpp>
#include <limits>

#include "golden/contract/error.h"
#include "served_bench.h"

using namespace assay;
using namespace assay::serving;
using namespace assay::serving_test;

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
