// The server loop on a model that hashes its sequences: what a request gets is what it gets alone,
// and whatever goes wrong with one is lost on no other.
#include "cuda_impl/serving/server.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <random>
#include <set>

#include "served_bench.h"

using namespace assay;
using namespace assay::serving;
using namespace assay::serving_test;

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

BOOST_AUTO_TEST_CASE(who_cannot_share_reads_by_himself) {
  Bench bench({.max_batch = 2, .max_wait_s = 0, .shared_prefix = 1});
  bench.model.on_share = [] { throw std::bad_alloc(); };
  bench.submit("first", {1, 2, 3}, 6);
  bench.server.step();
  bench.submit("same", {1, 2, 3}, 2);
  bench.drain();
  BOOST_TEST(bench.server.statistics().shared_tokens == 0);
  require_alone(bench.log.outcomes.at("first"), {1, 2, 3}, 6);
  require_alone(bench.log.outcomes.at("same"), {1, 2, 3}, 2);
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
