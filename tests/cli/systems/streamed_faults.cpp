#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>

#include "cuda_impl/engine/interface/model.h"
#include "golden/contract/error.h"
#include "golden/contract/weights.h"
#include "reference/streaming/streamed_model.h"
#include "tests/cli/systems/faults.h"
#include "tests/cli/systems/refusing_cache.h"

namespace assay::systems_test {
namespace {

constexpr int64_t kStreams = 3, kStreamCapacity = 24, kLargestChunk = 4;

// Sequences that go on by themselves: one step of some of them, the last logits of each.
class Streams {
 public:
  using Rows = std::vector<std::vector<int32_t>>;  // [kStreams]; nothing where it stands still
  virtual ~Streams() = default;
  virtual std::vector<double> append(const Rows& rows) = 0;  // [kStreams,V]
  virtual std::vector<int64_t> lengths() const = 0;
  int64_t refused_in = 0;  // appends of caches; 0: none is refused
};

class ReferenceStreams final : public Streams {
 public:
  ReferenceStreams(const golden::ModelConfig& config, const golden::WeightSource& weights)
      : model_(config, weights,
               {.batch = kStreams,
                .capacity = kStreamCapacity,
                .chunk = kLargestChunk,
                .cache = refusing_caches(refused_in)}) {}
  std::vector<double> append(const Rows& rows) override {
    const auto V = static_cast<std::size_t>(model_.vocab_size());
    std::vector<double> logits(rows.size() * V);
    std::vector<reference::Piece> pieces;
    for (std::size_t b = 0; b < rows.size(); ++b) {
      if (rows[b].empty()) continue;
      pieces.push_back({.sequence = static_cast<int64_t>(b),
                        .tokens = rows[b],
                        .logits = std::span(logits).subspan(b * V, V)});
    }
    model_.append(pieces);
    return logits;
  }
  std::vector<int64_t> lengths() const override {
    std::vector<int64_t> all;
    for (int64_t b = 0; b < kStreams; ++b) all.push_back(model_.length(b));
    return all;
  }

 private:
  reference::StreamedModel model_;
};

class EngineStreams final : public Streams {
 public:
  EngineStreams(const golden::ModelConfig& config, const golden::WeightSource& weights)
      : decoder_(cuda::make_host_model(config, golden::Precision::fp64, weights)
                     ->decoder(kStreams, kStreamCapacity)) {}
  std::vector<double> append(const Rows& rows) override {
    std::size_t C = 0;
    for (const auto& row : rows) C = std::max(C, row.size());
    std::vector<int32_t> tokens(rows.size() * C, 0), counts;
    for (std::size_t b = 0; b < rows.size(); ++b) {
      std::copy(rows[b].begin(), rows[b].end(),
                tokens.begin() + static_cast<std::ptrdiff_t>(b * C));
      counts.push_back(static_cast<int32_t>(rows[b].size()));
    }
    std::vector<double> logits(rows.size() * static_cast<std::size_t>(decoder_->vocab_size()));
    decoder_->append({static_cast<int64_t>(C), tokens, {}, counts}, logits);
    return logits;
  }
  std::vector<int64_t> lengths() const override {
    return {decoder_->lengths().begin(), decoder_->lengths().end()};
  }

 private:
  std::unique_ptr<cuda::Decoder> decoder_;
};

std::unique_ptr<Streams> make_streams(const std::string& backend, const golden::ModelConfig& config,
                                      const golden::WeightSource& weights) {
  if (backend.starts_with("simt")) return std::make_unique<EngineStreams>(config, weights);
  return std::make_unique<ReferenceStreams>(config, weights);
}

Streams::Rows drawn_rows(FaultRandom& random, const golden::ModelConfig& config) {
  Streams::Rows rows(kStreams);
  for (auto& row : rows) {
    if (drawn(random, 0, 3) > 0) row = drawn_prompt(random, config, 4);
  }
  if (rows[0].empty() && rows[1].empty()) rows[2] = drawn_prompt(random, config, 4);
  return rows;
}

// What one thing more is refused with; "" if it is not.
std::string refusal_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const InputError& error) {
    return error.what();
  } catch (const std::bad_alloc&) {
    return "not enough memory";
  }
  return "";
}

// A piece that cannot be: what it is, and the words that say so.
struct BadPiece {
  Streams::Rows rows;
  int64_t refused_in = 0;
  std::string words;
};

using MakeBad = std::function<BadPiece(FaultRandom&, const golden::ModelConfig&)>;

const std::map<std::string, MakeBad>& bad_pieces() {
  static const std::map<std::string, MakeBad> kBad{
      {"stream: token out of range",
       [](FaultRandom& random, const golden::ModelConfig& config) {
         BadPiece bad{drawn_rows(random, config), 0, ": expected 0 .. "};
         auto& row = bad.rows[static_cast<std::size_t>(drawn(random, 0, kStreams - 1))];
         row = drawn_prompt(random, config, 4);
         const int32_t V = static_cast<int32_t>(config.vocab_size);
         row.back() = drawn(random, 0, 1) == 0 ? -1 : V + static_cast<int32_t>(random() % 1000);
         return bad;
       }},
      {"stream: over-long",
       [](FaultRandom& random, const golden::ModelConfig& config) {
         BadPiece bad{drawn_rows(random, config), 0, " 24 positions"};
         auto& row = bad.rows[static_cast<std::size_t>(drawn(random, 0, kStreams - 1))];
         row.assign(static_cast<std::size_t>(drawn(random, kStreamCapacity + 1, 90)), 1);
         return bad;
       }},
      {"stream: no memory in the midst of a step",
       [](FaultRandom& random, const golden::ModelConfig& config) {
         BadPiece bad{drawn_rows(random, config), 0, "not enough memory"};
         for (auto& row : bad.rows) row = drawn_prompt(random, config, 4);
         bad.refused_in = drawn(random, 1, kStreams);
         return bad;
       }}};
  return kBad;
}

std::string problem_of_piece(const MakeBad& make, const std::string& backend, uint64_t seed) {
  FaultRandom random(seed);
  golden::ModelConfig config = drawn_config(random);
  config.window = 0;  // what is over-long ends
  config.sink_tokens = 0;
  const golden::SyntheticWeights weights(config, seed);
  const auto disturbed = make_streams(backend, config, weights);
  const auto undisturbed = make_streams(backend, config, weights);
  const int64_t at = drawn(random, 0, 3);
  for (int64_t step = 0; step < 5; ++step) {
    if (step == at) {
      const BadPiece bad = make(random, config);
      const std::vector<int64_t> before = disturbed->lengths();
      disturbed->refused_in = bad.refused_in;
      const std::string said = refusal_of([&] { disturbed->append(bad.rows); });
      if (said.find(bad.words) == std::string::npos) {
        return fmt::format("expected '{}', got '{}'", bad.words, said);
      }
      if (disturbed->lengths() != before) return "a sequence has moved";
    }
    const Streams::Rows rows = drawn_rows(random, config);
    if (disturbed->append(rows) != undisturbed->append(rows)) return "other logits";
  }
  return "";
}

// Options that cannot be.
std::string problem_of_options(const std::string& name, uint64_t seed) {
  FaultRandom random(seed);
  golden::ModelConfig config = drawn_config(random);
  config.window = drawn(random, 2, 20);
  const golden::SyntheticWeights weights(config, seed);
  const int64_t more = drawn(random, 1, 1000000);
  reference::StreamOptions options;
  std::string words = fmt::format("at least the window, {} positions", config.window);
  if (name == "window larger than capacity") {
    options.capacity = drawn(random, 1, config.window - 1);
    options.chunk = 1;
  } else {
    options.capacity = config.window;
    options.chunk = config.window + more;
    words = fmt::format("chunk: expected at most the capacity, {} positions", config.window);
  }
  const std::string said =
      refusal_of([&] { const reference::StreamedModel model(config, weights, options); });
  return said.find(words) == std::string::npos ? fmt::format("expected '{}', got '{}'", words, said)
                                               : "";
}

}  // namespace

golden::ModelConfig drawn_config(FaultRandom& random) {
  static const std::vector<std::string> kMethods{"plain", "1",   "2",   "3.1", "4.1",
                                                 "5.1",   "5.4", "5.8", "5.1E"};
  golden::ModelConfig config{.hidden_size = 8,
                             .intermediate_size = 6,
                             .num_hidden_layers = drawn(random, 1, 3),
                             .num_attention_heads = 2,
                             .num_key_value_heads = 1,
                             .head_dim = 4,
                             .vocab_size = drawn(random, 5, 20),
                             .method = kMethods[static_cast<std::size_t>(
                                 drawn(random, 0, static_cast<int64_t>(kMethods.size()) - 1))]};
  if (drawn(random, 0, 1) == 0) config.window = drawn(random, 1, 7);
  if (config.window > 0 && drawn(random, 0, 1) == 0) config.sink_tokens = drawn(random, 1, 3);
  return config;
}

std::vector<int32_t> drawn_prompt(FaultRandom& random, const golden::ModelConfig& config,
                                  int64_t most) {
  std::vector<int32_t> tokens(static_cast<std::size_t>(drawn(random, 1, most)));
  for (int32_t& token : tokens) {
    token = static_cast<int32_t>(drawn(random, 0, config.vocab_size - 1));
  }
  return tokens;
}

const std::vector<std::string>& streamed_faults() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names{"window larger than capacity", "chunk larger than ring"};
    for (const auto& [name, make] : bad_pieces()) names.push_back(name);
    return names;
  }();
  return kNames;
}

std::string problem_of_streamed(const std::string& name, const std::string& asked, uint64_t seed) {
  const auto piece = bad_pieces().find(name);
  if (piece == bad_pieces().end()) return problem_of_options(name, seed);
  const bool of_reference = name.ends_with("in the midst of a step");
  return problem_of_piece(piece->second, of_reference ? "reference" : asked, seed);
}

}  // namespace assay::systems_test
