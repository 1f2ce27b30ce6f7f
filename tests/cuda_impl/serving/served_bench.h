// A server on a model that hashes its sequences, with a clock that a test moves.
#pragma once

#include <boost/test/unit_test.hpp>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cuda_impl/serving/server.h"
#include "hashing_model.h"

namespace assay::serving_test {

using serving::Listener;
using serving::Outcome;
using serving::Request;
using serving::Server;
using serving::ServerOptions;
using serving::Token;

inline constexpr int64_t kV = 50, kCapacity = 64;

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

inline const ServerOptions kFour{.max_batch = 4, .max_wait_s = 0.5};

inline void require_alone(const Outcome& outcome, const std::vector<int32_t>& prompt,
                          int64_t count) {
  const std::vector<int32_t> expected = tokens_alone(prompt, count, kCapacity, kV);
  BOOST_TEST(outcome.tokens == expected, boost::test_tools::per_element());
}

}  // namespace assay::serving_test
