// Requests of several people at a server, and somebody for whom things go wrong.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "cli/serving/step_models.h"
#include "cuda_impl/serving/block_budget.h"
#include "cuda_impl/serving/server.h"
#include "golden/contract/weights.h"
#include "reference/streaming/streamed_model.h"
#include "tests/cli/systems/faults.h"
#include "tests/cli/systems/refusing_cache.h"

namespace assay::systems_test {

using serving::End;
using serving::Outcome;
using serving::Request;

inline constexpr int64_t kFaultCapacity = 40;
inline const std::string kVictim = "victim";

// The reference's stream behind a server, of which a cache refuses one append.
class RefusingStream final : public serving::StepModel {
 public:
  RefusingStream(const golden::ModelConfig& config, const golden::WeightSource& weights,
                 int64_t slots, int64_t& left)
      : stream_(config, weights,
                {.batch = slots,
                 .capacity = kFaultCapacity,
                 .windowed = config.full_layers.empty() ? 0 : kFaultCapacity,
                 .chunk = 3,
                 .cache = refusing_caches(left)}),
        slots_(slots) {}
  int64_t slots() const override { return slots_; }
  int64_t capacity() const override { return kFaultCapacity; }
  int64_t vocab_size() const override { return stream_.vocab_size(); }
  bool reserve(int64_t slot, int64_t) override {
    stream_.reset(slot);
    return true;
  }
  void release(int64_t slot) override { stream_.reset(slot); }
  void step(std::span<const serving::SlotTokens> batch, std::span<double> logits) override {
    const std::size_t V = logits.size() / batch.size();
    std::vector<reference::Piece> pieces;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      pieces.push_back({batch[i].slot, batch[i].tokens, logits.subspan(i * V, V)});
    }
    stream_.append(pieces);
  }

 private:
  reference::StreamedModel stream_;
  int64_t slots_;
};

// A model that does what it does until it is told otherwise.
class TroubledModel : public serving::StepModelWrapper {
 public:
  using StepModelWrapper::StepModelWrapper;
  bool reserve(int64_t slot, int64_t positions) override {
    if (on_reserve) on_reserve(positions);
    return model_.reserve(slot, positions);
  }
  void step(std::span<const serving::SlotTokens> batch, std::span<double> logits) override {
    if (before_step) before_step(batch);
    model_.step(batch, logits);
    if (after_step) after_step(batch, logits);
  }

  std::function<void(int64_t positions)> on_reserve;
  std::function<void(std::span<const serving::SlotTokens>)> before_step;
  std::function<void(std::span<const serving::SlotTokens>, std::span<double>)> after_step;
};

struct Visitor {
  Request request;
  int64_t turn = 0;  // in which it comes
};

struct Scene {
  golden::ModelConfig config;
  serving::ServerOptions options;
  serving::BlockOptions blocks;
  std::vector<Visitor> visitors;
  int64_t fault_turn = 0, second_turn = 0;
  uint64_t seed = 0;
};

inline Scene drawn_scene(FaultRandom& random, uint64_t seed) {
  Scene scene;
  scene.config = drawn_config(random);
  scene.options.max_batch = drawn(random, 1, 4);
  scene.options.max_wait_s = 0.001 * static_cast<double>(drawn(random, 0, 4));
  scene.options.prefill_chunk = drawn(random, 0, 4);
  scene.options.overtaking = drawn(random, 0, 3);
  scene.options.shared_prefix = drawn(random, 0, 3);
  scene.blocks.positions = drawn(random, 1, 6);
  scene.blocks.blocks = drawn(random, 30, 70) / scene.blocks.positions + 1;
  const int64_t count = drawn(random, 2, 6);
  for (int64_t i = 0; i < count; ++i) {
    const bool late = i + 1 == count;  // when everything is over
    scene.visitors.push_back({{.id = fmt::format("v{}", i),
                               .tokens = drawn_prompt(random, scene.config, 9),
                               .max_new_tokens = drawn(random, 1, 6)},
                              late ? 400 : drawn(random, 0, 12)});
  }
  scene.fault_turn = drawn(random, 0, 14);
  scene.second_turn = scene.fault_turn + drawn(random, 0, 5);
  scene.seed = seed;
  return scene;
}

// A server over a scene, and what it said.
class Run : public serving::Listener {
 public:
  Run(const Scene& scene, const std::string& backend)
      : scene_(scene),
        weights_(scene.config, scene.seed),
        model_(make_model(scene, backend)),
        troubled(*model_),
        budget(troubled, scene.blocks),
        server(
            served(), scene.options, [this] { return broken_clock ? std::nan("") : clock_s; },
            this) {}

  // Acts are called in their turns, before the server's step.
  void play(const std::function<void(Run&)>& first, const std::function<void(Run&)>& second) {
    const int64_t last = 401;
    for (int64_t turn = 0; turn < 5000 && (turn <= last || !server.idle()); ++turn) {
      for (const Visitor& visitor : scene_.visitors) {
        if (visitor.turn != turn) continue;
        const std::string why = server.submit(visitor.request);
        if (!why.empty()) problem = fmt::format("{} is rejected: {}", visitor.request.id, why);
      }
      if (turn == scene_.fault_turn && first) first(*this);
      if (turn == scene_.second_turn && second) second(*this);
      server.step();
      clock_s += 0.001;
    }
    check_left();
  }

  void started(const Request& request, int64_t slot, double) override {
    if (request.id == kVictim) victim_slot = slot;
  }
  void token(const serving::Token& token) override {
    auto& all = logits[token.id];
    all.insert(all.end(), token.logits.begin(), token.logits.end());
  }
  void ended(const Outcome& outcome) override {
    if (outcome.id == kVictim) victim_slot = -1;
    if (!outcomes.emplace(outcome.id, outcome).second) problem = outcome.id + " ends twice";
  }
  bool holds_victim(std::span<const serving::SlotTokens> batch) const {
    return std::any_of(batch.begin(), batch.end(),
                       [&](const auto& row) { return row.slot == victim_slot; });
  }

 private:
  void check_left() {
    const serving::Statistics& s = server.statistics();
    if (!server.idle()) problem = "the server does not come to an end";
    if (s.accepted != s.finished + s.cancelled + s.failed) problem = "requests are lost";
    const auto counts = troubled.block_counts();
    if (counts && counts->used + counts->promised != 0) {
      problem = fmt::format("{} blocks are held and {} promised at the end", counts->used,
                            counts->promised);
    }
    if (budget.free_blocks() != scene_.blocks.blocks) {
      problem = fmt::format("{} of {} blocks are free at the end", budget.free_blocks(),
                            scene_.blocks.blocks);
    }
  }

  // A cache in blocks counts by itself.
  serving::StepModel& served() {
    if (troubled.block_counts()) return troubled;
    return budget;
  }
  cli::StepModelPointer make_model(const Scene& scene, const std::string& backend) {
    if (backend == "refusing") {
      return std::make_unique<RefusingStream>(scene.config, weights_, scene.options.max_batch,
                                              appends_left);
    }
    return cli::step_models(backend, backend.starts_with("simt") ? "fp64" : "", scene.config,
                            weights_)
        .make(scene.options.max_batch, kFaultCapacity);
  }

  const Scene& scene_;
  golden::SyntheticWeights weights_;

 public:
  int64_t appends_left = 0;  // until one is refused; 0: none is

 private:
  cli::StepModelPointer model_;

 public:
  TroubledModel troubled;
  serving::BlockBudget budget;
  bool broken_clock = false;
  double clock_s = 10;
  std::map<std::string, Outcome> outcomes;
  std::map<std::string, std::vector<double>> logits;
  std::string problem, rejected;
  int64_t victim_slot = -1;
  serving::Server server;
};

}  // namespace assay::systems_test
